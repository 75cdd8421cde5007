"""What became of every figure of the three papers in a study: none is missing without a reason, none built without saying how."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from interpretability.schema import MIXED, SYNTHETIC
from study.report.figures import about, checklist_of_texts
from study.report.figures.base import Study
from study.report.figures.ceiling import leading_ceiling
from study.report.figures.items import CALLED, GALLERY, MADE_GALLERY, Item
from study.report.figures.mis_and_his import agreed
from study.report.figures.paper_of_texts import CROWD
from study.report.figures.papers import ITEMS, REPORTED
from study.report.figures.ranking import ridge_models

COLUMNS = ["paper", "figure", "what", "ours", "state", "how", "reported", "number", "ours_value"]
# ABSENT: this program builds it, from data that this study lacks; NEEDS: from data that its authors alone have
STATES = BUILT, ABSENT, NEEDS, DRAWING = "built", "not in this study", "needs data", "a drawing"
SIMULATED, HUMAN = "on simulated answers", "answers of people (human.source)"
THROUGH = "on simulated answers through the encoder"
HALF = "for the machine alone, as there are no answers of people"
_NO_PICTURES = "the page shows no units with pictures"


def _model_points(study: Study) -> float:
    rows = study.tables["model_points"]
    natural = ~rows["condition"].str.contains(SYNTHETIC) & (rows["condition"] != MIXED)
    return agreed(rows[(rows["backend"] == study.lead) & natural])


def _all_units(study: Study) -> float:
    rows = study.tables["agreement"]
    kept = (rows["backend"] == study.lead) & (rows["level"] == "unit") & (rows["units"] == "all")
    return _first(rows.loc[kept, "pearson"])


def _accuracy(study: Study) -> float:
    rows = study.tables["correlations"]
    kept = (rows["backend"] == study.lead) & (rows["level"] == "model") & (rows["x"] == "top1")
    return _first(rows.loc[kept, "pearson"])


def _highest_mean(study: Study) -> float:
    return float(study.models()["mis_mean"].max())


def _first_epoch(study: Study) -> float:
    rows = study.tables["training"]
    return float(rows.loc[(rows["backend"] == study.lead) & (rows["step"] == 1), "mis_mean"].mean())


def _without_constant(study: Study) -> float:
    return float((study.models()["n_constant"] == 0).mean())


def _ceiling(study: Study) -> float:
    row = leading_ceiling(study)
    return float("nan") if row is None else float(row["mean"])


def _temperature(study: Study) -> float:
    rows = study.tables["calibration"]
    rows = rows[~rows["backend"].isin(study.unidentified)]
    return 1 / _first(rows.loc[rows["backend"] == study.lead, "slope"])


def _natural_his(study: Study) -> float:
    rows = study.tables["his_models"]
    return float(rows.loc[rows["condition"] == "natural", "his_mean"].mean())


def _largest_map(statistic: str) -> Callable[[Study], float]:
    def largest(study: Study) -> float:
        rows = study.tables["map_correlations"]
        return float(rows.loc[(rows["statistic"] == statistic) & (rows["backend"] == "human"), "spearman"].abs().max())

    return largest


def _first(values: pd.Series) -> float:
    return float(values.iloc[0]) if len(values) else float("nan")


# the one number that is compared, and how it is found in a study
NUMBERS: dict[str, tuple[str, Callable[[Study], float]]] = {
    "MIS 2A": ("Pearson", _model_points),
    "MIS 2B left": ("Pearson", _all_units),
    "MIS 3": ("highest mean", _highest_mean),
    "MIS 4A": ("Pearson", _accuracy),
    "MIS 8": ("mean MIS after one epoch", _first_epoch),
    "MIS 11": ("ceiling", _ceiling),
    "MIS 15": ("share of networks without", _without_constant),
    "MIS section 3": ("1 / slope", _temperature),
    "MIS appendix B": ("leading variant", _ceiling),
    "IMI 3 left": ("mean of natural ones", _natural_his),
    "IMI 17": ("largest absolute Spearman", _largest_map("contrast")),
    "IMI 18": ("largest absolute Spearman", _largest_map("pixel_sparseness")),
    "IMI 19": ("largest absolute Spearman", _largest_map("channel_sparseness")),
    **checklist_of_texts.NUMBERS,
}
# table and column that hold the networks of a figure; others show the ranked ones, or those that people annotated
_NETWORKS_IN = {
    "training": ("training", "series"),
    "layer_change": ("layer_change", "series"),
    "activation_histograms": ("activation_histograms", "model"),
    "extreme_groups": ("groups", "model"),
    **dict.fromkeys(("map_contrast", "map_pixel_sparseness", "map_channel_sparseness"), ("map_units", "model")),
    **dict.fromkeys(("difficulty_levels", "difficulty_units", "difficulty_gaps"), ("his_pairs", "model")),
    **dict.fromkeys(("his_models", "his_model_tests", "his_against_accuracy", "confidence"), ("his_models", "model")),
    "likeness_to_people": ("likeness_networks", "model"),
    "natural_synthetic": ("natural_synthetic", "model"),
    "mis_natural_synthetic": ("made_images", "model"),
}
_REBUILT = "MIS 13b"
# parts of a figure that may be missing while the figure is there: a row that a table must have, of the leading similarity
# unless it says of which, and what it means if not
_PARTS = {
    _REBUILT: ("sensitivity", {"setting": "n_tasks"}, "networks in sensitivity.models"),
    "MIS 7": ("layer_change", {"period": "first"}, "no network has checkpoints from the untrained one on"),
    "MIS 18": ("layer_change", {"period": "full"}, "no network has checkpoints from the untrained one on"),
    "MIS 20": ("residuals", {"side": "over"}, "no annotated unit outside the calibration split has HIS below MIS"),
    "MIS 21": ("residuals", {"side": "under"}, "no annotated unit outside the calibration split has HIS above MIS"),
    "IMI 3 right": ("network_tests", {"backend": "human"}, "fewer than two networks have answers to natural tasks"),
    "IMI 4 right": (
        "likeness_networks",
        {"backend": "", "score": "his"},
        "no network has both human answers and a published likeness",
    ),
    "IMI 11": ("network_tests", {"backend": "human_synthetic"}, "nobody was asked about synthetic explanations"),
    "IMI 14": ("difficulty", {"backend": "human"}, "no unit was asked about at two levels"),
}


def checklist(study: Study, drawn: Collection[str], known: Collection[str]) -> pd.DataFrame:
    """Every figure of the three papers: COLUMNS. `drawn` are the `known` figures of this study that have data, and GALLERY
    where the page shows units with their pictures.

    state is one of STATES. how says of a built one what stands in place of the paper's similarity, networks and people (empty:
    nothing does), of one that is not in this study what the study lacks, of one that needs data of its authors which these
    are, and of a drawing what it is of. ours_value is what `number` names,
    in this study.
    """
    rows = []
    for item in ITEMS:
        assert {item.ours, item.half} <= {"", GALLERY, MADE_GALLERY, *known}, item.name
        missing = "" if item.drawing else _missing(study, item, drawn)
        if missing and item.half in drawn:
            item, missing = replace(item, ours=item.half, people=False), ""
        without = NEEDS if item.of_authors else ABSENT
        state = DRAWING if item.drawing else without if missing else BUILT
        how = item.drawing or missing or _built(study, item)
        number, of_study = NUMBERS.get(item.name, ("", None))
        value = np.nan if of_study is None or state != BUILT else of_study(study)
        reported = REPORTED.get(item.name, "")
        rows.append((item.paper, item.figure, item.what, item.ours, state, how, reported, number, value))
    return pd.DataFrame(rows, columns=COLUMNS)


def _missing(study: Study, item: Item, drawn: Collection[str]) -> str:
    """The data that this study lacks for such a figure; empty where it has it."""
    if item.people and study.human.empty:
        return HUMAN
    if item.ours == MADE_GALLERY and study.tables["made_images"].empty:
        return about.NO_MADE
    if item.ours not in drawn:
        return item.lacks or (_NO_PICTURES if item.ours in (GALLERY, MADE_GALLERY) else about.ABSENT[item.ours])
    if (part := _PARTS.get(item.name)) is None:
        return checklist_of_texts.lacking(study, item)
    table, wanted, reason = part
    rows = study.tables[table]
    for column, value in {"backend": study.lead, **wanted}.items():
        rows = rows[rows[column] == value]
    return "" if len(rows) else reason


def _built(study: Study, item: Item) -> str:
    others = _other_similarity(study, item), _other_networks(study, item), checklist_of_texts.machine(study, item)
    replaced = [words for words in others if words]
    lacking = _without(study, item)
    parts = (
        _on_what(study, item),
        f"with {' and '.join(replaced)}" if replaced else "",
        f"without {_joined(lacking)}" if lacking else "",
        item.but,
    )
    return ", ".join(part for part in parts if part)


def _on_what(study: Study, item: Item) -> str:
    """What it is built on, where that is no answer of people."""
    if item.worlds:
        return checklist_of_texts.WORLDS
    if item.rated and study.rated_by_program:
        return checklist_of_texts.RATED
    if item.half and not item.people:
        return HALF
    if item.people and item.made and SYNTHETIC in study.human_through:
        return THROUGH
    return SIMULATED if item.people and study.simulated else ""


def _has(backends: Sequence[str], wanted: str) -> bool:
    """Whether a similarity of the paper is among the backends: DreamSim whole, LPIPS with any trunk."""
    return any(name == wanted or (wanted == "lpips" and name.startswith("lpips-")) for name in backends)


def _other_similarity(study: Study, item: Item) -> str:
    backends = (study.lead,) if len(item.similar) == 1 else study.backends
    if any(_has(backends, wanted) for wanted in item.similar) or not item.similar:
        return ""
    return f"{_joined(backends)} in place of {_joined(item.similar)}"


def _without(study: Study, item: Item) -> list[str]:
    """Similarities of a figure of several that this study lacks, where it has others of them."""
    absent = [wanted for wanted in item.similar if not _has(study.backends, wanted)]
    return absent if 1 < len(item.similar) > len(absent) else []


def _other_networks(study: Study, item: Item) -> str:
    """How the networks of the figure differ from the paper's; empty where those are all there."""
    paper, here = item.networks, _networks_here(study, item)
    own = {study.itself(name) for name in here}
    sizes = " at several sizes of input" if len(own) < len(here) else ""
    count = f"{len(own):,} network{'' if len(own) == 1 else 's'}{sizes}"
    if isinstance(paper, int):
        return "" if len(own) == paper else f"{count} in place of {paper}"
    same = [name for name in paper if name in here]
    if len(same) == len(paper):
        return ""
    if same:
        return f"{len(same)} of the {len(paper)} networks"
    if len(paper) > 2:
        return f"{count} in place of {len(paper)}"
    return f"{_joined(sorted(here)) if len(here) < 3 else count} in place of {_joined(paper)}"


def _networks_here(study: Study, item: Item) -> set[str]:
    if item.ours == "unit_distribution":
        return set(ridge_models(study))
    if item.paper == CROWD:
        return checklist_of_texts.networks(study, item)
    table, column = _NETWORKS_IN.get(item.ours, ("model_points", "model"))
    if item.name == _REBUILT:
        rows = study.tables["sensitivity"]
        return set(rows.loc[rows["setting"] == "n_tasks", "model"])
    if not item.people and item.ours not in _NETWORKS_IN:
        return set(study.models()["model"])
    rows = study.tables[table]
    if item.made and "condition" in rows:
        rows = rows[rows["condition"].astype(str).str.contains(SYNTHETIC)]
    return set(rows[column].astype(str)) - {""}


def _joined(names: Sequence[str]) -> str:
    """Names as papers write them: one, two and three."""
    called = [CALLED.get(name, name) for name in names]
    return " and ".join([", ".join(called[:-1]), called[-1]] if len(called) > 1 else called)
