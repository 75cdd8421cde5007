"""What the prose and the captions say of a study, every value from a table, a summary or the recorded parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from interpretability.networks.reasons import ASKED
from interpretability.schema import SYNTHETIC, UNIT
from interpretability.statistics import FEWEST, FEWEST_CORRELATED
from study.files import sources
from study.networks.forms import forms_words
from study.networks.precisions import precision_words
from study.report.figures import bases, ceiling, kinds, made_images, other_scores, ranking, texts_known
from study.report.figures.base import Study
from study.report.figures.texts import OURS
from study.report.figures.words import differing
from study.report.page.cells import count, number, p_value, percent
from study.report.page.seeds import seeds_words
from study.report.page.tables_of_answers import ceiling_rows

_ELSEWHERE = {"params", "ran_in", "forms"}  # in the provenance: a table of its own, and a line a network, said in words
Row = dict[Hashable, Any]  # of a table
Record = Mapping[str, Any]  # what a stage wrote as JSON


def make_facts(
    study: Study,
    metrics: Record,
    provenance: Record,
    images: Record,
    tasks: Record,
) -> dict[str, object]:
    """What the prose and the captions say: every value from a table, a summary or the recorded parameters."""
    params = provenance["params"]
    return {
        "params": params,
        "provenance": flatten({name: value for name, value in provenance.items() if name not in _ELSEWHERE}),
        "all_params": flatten(provenance.get("params", {})),
        "device_kinds": ", ".join(map(str, provenance.get("device_kinds", []))),
        "metrics": sorted(metrics.items()),
        "images": images,
        "tasks": tasks,
        "lead": study.lead,
        "backends": study.backends,
        "confidence": f"{100 * study.confidence:g} %",
        "generated": params["images"]["source"] == "generated",
        **_of_networks(study),
        **_of_correlations(study),
        **_of_people(study, asked=params["human"]["source"] != "none"),
        **_of_similarities(study),
        **_of_texts(study),
        "bases_words": bases.over_layers_words(bases.units_or_directions(study)),
        "superposed_words": bases.turned(bases.superposed(study).query("backend == @study.lead")),
        "choosing_words": kinds.choosing_words(study),
        "choosing_sets": kinds.sets_of_choice(study),
        "made_words": made_images.made_words(study),
        "scores_words": other_scores.scores_words(study),
        "seeds_words": seeds_words(study),
        "caveats": level_caveats(study, tasks["tail_share"]),
        **_of_controls(study),
        "n_failures": len(study.tables["failures"]),
        "n_rejected": len(study.tables["rejected_images"]),
        "n_constant": len(study.tables["constant_units"]),
        "left_out_words": left_out_words(study.tables["left_out_layers"]),
        "precision_words": precision_words(
            params["activations"]["precision"], provenance.get("ran_in", {}), provenance.get("n_networks", 0)
        ),
        "forms_words": forms_words(provenance.get("forms", {}), provenance.get("n_networks", 0)),
    }


def _of_networks(study: Study) -> dict[str, object]:
    ranked = study.models()
    return {
        "models": ranked,
        "n_models": len(ranked),
        "model_names": list(ranked["model"]),
        "n_units": int(ranked["n_units"].sum()),
        "best_margin": _first_by(ranked, "margin_mean"),
        "best_accuracy": _first_by(ranked, "accuracy_mean"),
        "best": first_row(ranked),
        "last": first_row(ranked.iloc[::-1]),
        "most_ridges": ranking.MOST_RIDGES,
        "n_ridges": len(ranking.ridge_models(study)),
        "differences": {groups: differing_lines(study, groups) for groups in ("models", "layer_types")},
        "kruskal": {groups: kruskal_lines(study, groups) for groups in ("models", "layer_types")},
    }


def _of_correlations(study: Study) -> dict[str, object]:
    """Which correlations over networks this study has: facts of networks by name, points of both scores."""
    rows = study.tables["correlations"]
    rows = rows[(rows["backend"] == study.lead) & rows["pearson"].notna()]
    agreed = study.tables["agreement"]
    of_networks = agreed[(agreed["level"] == "model") & agreed["pearson"].notna()]
    return {
        "fewest": FEWEST_CORRELATED,
        "fewest_means": FEWEST,
        "correlated": {*rows.loc[rows["level"] == "model", "x"], *(["his"] if len(of_networks) else [])},
        "layers_correlated": bool((rows["level"] == "layer").any()),
    }


def _of_people(study: Study, *, asked: bool) -> dict[str, object]:
    agreed = study.tables["agreement"]
    of_units = agreed[agreed["level"] == "unit"]
    n_compared = int(of_units.loc[of_units["units"] == "all", "n"].max() if len(agreed) else 0)
    return {
        "simulated": study.simulated,
        "truth_known": "true" in set(study.tables["noise_ceiling"]["variant"]),
        "has_human": asked and n_compared > 0,
        "n_annotated": len(sources.counted(study.human).drop_duplicates(UNIT)),
        "n_compared": n_compared,
        "people": study.people,
        "people_synthetic": study.people_of(SYNTHETIC),
        "through": THROUGH if study.human_through else "",
        "synthetic_units": synthetic_units(study),
        "agreement": first_row(of_units[(of_units["backend"] == study.lead) & (of_units["units"] == "outside_split")]),
        "ceiling": _ceiling(study),
        "share": _share(study),
        "margins_of_units": "unit" in set(study.tables["trials"]["margin_of"]),
    }


def synthetic_units(study: Study) -> str:
    """How the units came about to which people answered with synthetic explanations; ends a caption, empty without any."""
    asked = study.human.loc[study.human["condition"] == SYNTHETIC, UNIT].drop_duplicates()
    if asked.empty:
        return ""
    named = study.tables["made_images"][UNIT].drop_duplicates()
    n_named = len(asked.merge(named, on=UNIT))
    if not n_named:
        return " Units with synthetic explanations are those that the recorded experiment chose (IMI drew its own)."
    which = "were" if n_named == len(asked) else f"were in part, {n_named} of {len(asked)},"
    return (
        f" Units with synthetic explanations {which} named (visualisations.units), not drawn: they stand "
        "for themselves, not for a network as a whole."
    )


def _of_similarities(study: Study) -> dict[str, object]:
    fits = study.tables["calibration"]
    return {
        "slope": first_row(fits[fits["backend"] == study.lead]),
        "uncalibrated": sorted(set(fits.loc[fits["status"] == "not calibrated", "backend"])),
        "star": STAR if study.unidentified else "",
        "unidentified": fits[fits["backend"].isin(study.unidentified)].to_dict("records"),
    }


def _of_texts(study: Study) -> dict[str, object]:
    """Who rated texts, what says which concepts pictures show, and whether our scores may be called calibrated."""
    methods = study.tables["explanation_methods"]
    ours = methods[(methods["score"] == OURS) & methods["rho_mean"].notna()]
    return {
        "raters": study.rating_people,
        "texts_simulated": study.rated_by_program,
        "text_status": "; ".join(dict.fromkeys(ours["status"].astype(str))),
        "texts_rated": len(ours) > 0,
        "texts_known": not texts_known.texts_known(study).empty,
        "shown_by": study.shown_by,
    }


# ends the captions of figures with answers to tasks that made images explain
THROUGH = (
    " Nobody knows what made images show: simulated observers read it from the encoder, with which these answers agree by "
    "construction."
)
# ends the captions of figures in which levels of several similarities stand side by side
STAR = " *: slope not identified, so levels compare with no others."
LARGEST_TAIL_SHARE = 0.05


def level_caveats(study: Study, tail_share: float) -> list[str]:
    """Sentences that belong beside every level of MIS of this study; none where there is nothing to say."""
    fits = study.tables["calibration"].set_index("backend")
    caveats: list[str] = []
    if tail_share > LARGEST_TAIL_SHARE:
        caveats.append(
            f"Tasks take {percent(tail_share)} of all pictures on either side (above {percent(LARGEST_TAIL_SHARE)}), so "
            "they are harder than in a study with more pictures, and the level of MIS is that of a small study."
        )
    if study.lead in study.unidentified:
        caveats.append(
            f"The slope of {study.lead} is not identified ({fits['reason'][study.lead]}), so the level of MIS means "
            "little: accuracy and mean margin do not depend on it."
        )
    return caveats


def left_out_words(rows: pd.DataFrame) -> str:
    """How many layers of the wanted types give no units that nobody asked to leave out, and why, in a sentence."""
    found = rows[~rows["reason"].isin(ASKED)]
    if found.empty:
        return "Every other layer of these types gives units."
    reasons = ", ".join(f"{reason} ({count(n)})" for reason, n in found["reason"].value_counts(sort=False).items())
    layers, networks = len(found), found["model"].nunique()
    return (
        f"{count(layers)} more layer{'' if layers == 1 else 's'} of these types, in {count(networks)} "
        f"network{'' if networks == 1 else 's'}, give{'s' if layers == 1 else ''} no units: {reasons}."
    )


def _of_controls(study: Study) -> dict[str, object]:
    controls = study.tables["controls"]
    judged = controls[pd.to_numeric(controls["passed"], errors="coerce").notna()]
    return {
        "n_judged": len(judged),
        "n_passed": int((judged["passed"] == 1).sum()),
        "failed_controls": judged[judged["passed"] != 1].to_dict("records"),
    }


def first_row(frame: pd.DataFrame) -> Row | None:
    return frame.iloc[0].to_dict() if len(frame) else None


def _first_by(ranked: pd.DataFrame, column: str) -> str:
    """The network with the highest value of a column."""
    return "" if ranked.empty else str(ranked["model"].iloc[int(ranked[column].argmax())])


def _ceiling(study: Study) -> Row | None:
    row = ceiling.leading_ceiling(study)
    return None if row is None else row.to_dict()


def _share(study: Study) -> Row | None:
    """The leading similarity's agreement as a share of the leading ceiling."""
    rows = ceiling_rows(study, shares=True)
    rows = rows[rows["backend"] == study.lead]
    whole = rows[rows["subset"] == "all"]
    return first_row(whole if len(whole) else rows)


def kruskal_lines(study: Study, groups: str) -> list[str]:
    """The test over all groups at once in a sentence for the leading similarity and for people."""
    rows = study.tables["kruskal"]
    rows = rows[(rows["groups"] == groups) & rows["backend"].isin([study.lead, "human"]) & rows["p"].notna()]
    return [
        f"{study.people if row['backend'] == 'human' else row['backend']}: H = {number(1)(row['statistic'])} "
        f"({count(row['n_groups'])} groups, n = {count(row['n'])}), p {_equals(p_value(row['p']))}, "
        f"ε² = {number(2)(row['epsilon_squared'])}"
        for row in rows.to_dict("records")
    ]


def differing_lines(study: Study, groups: str) -> list[str]:
    """Which groups differ by the tests of this study, in a sentence for the leading similarity and one for people."""
    rows = study.lead_and_people({"models": "network_tests", "layer_types": "layer_type_tests"}[groups])
    lines = [(name, differing(own)) for name, own in rows.groupby("backend", sort=False)]
    return [f"{name}: {line}" for name, line in lines]


def _equals(shown: str) -> str:
    return shown if shown.startswith("below") else f"= {shown}"


def flatten(content: object, prefix: str = "") -> list[tuple[str, str]]:
    """Nested JSON as sorted (dotted name, text) pairs."""
    if isinstance(content, Mapping):
        return [
            pair
            for name in sorted(content)
            for pair in flatten(content[name], f"{prefix}.{name}" if prefix else str(name))
        ]
    if isinstance(content, list | tuple):
        return [(prefix, ", ".join(str(item) for item in content))]
    return [(prefix, str(content))]
