"""The report page: the study's tables become one self-contained HTML file.

Everything that comes from data passes through Jinja's autoescape; figures and pictures are data URIs, so that no
request leaves the page, and its content policy forbids any.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from markupsafe import Markup
from PIL import Image

from stages.errors import StudyError
from stages.pipeline import figures
from stages.pipeline.figures import FIGURES, Study
from stages.pipeline.params import Params
from stages.pipeline.tables import KEY, read_csv, read_parquet, write_csv, write_text

TABLES = (
    "models",
    "layers",
    "layer_types",
    "backends",
    "backend_agreement",
    "agreement",
    "agreement_differences",
    "trials",
    "noise_ceiling",
    "his_models",
    "conditions",
    "natural_synthetic",
    "confidence",
    "ranking",
    "correlations",
    "kruskal",
    "family_bootstrap",
    "conover_layer_types",
    "conover_models",
    "controls",
    "training",
    "training_gain",
    "calibration",
    "sensitivity",
    "constant_units",
    "failures",
    "rejected_images",
    "exclusions",
)
# columns that stay text even where every value looks like a number
TEXT = {
    "model",
    "layer",
    "condition",
    "layer_type",
    "backend",
    "role",
    "series",
    "level",
    "units",
    "coefficient",
    "margin_of",
    "group",
    "groups",
    "x",
    "base",
    "subset",
    "variant",
    "first",
    "second",
    "stars",
    "control",
    "factor",
    "expectation",
    "setting",
    "stage",
    "reason",
    "path",
    "panel",
    "measure",
    "status",
}
MOST_ROWS = 100  # a longer table is cut; the file holds the rest
MOST_SHOWN_MODELS = 8  # networks with exemplar pictures
THUMBNAIL = 56  # pixels of one explanation
UNIT_COLUMNS = [*KEY, "layer_type", "mis", "mis_se", "accuracy", "margin_mean", "in_split"]


@dataclass(frozen=True)
class Table:
    """An HTML table: text cells, the first column heads its row; `numeric` columns are set to the right."""

    caption: str
    head: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class FigureView:
    """A figure on the page, or the line that stands in its place."""

    name: str
    title: str = ""
    paragraphs: tuple[str, ...] = ()
    alt: str = ""
    wide: str = ""
    narrow: str = ""
    absent: str = ""


@dataclass(frozen=True)
class Exemplar:
    """One task of a unit as a picture: what excites it least on the left, most on the right."""

    unit: str
    mis: float
    mis_se: float
    accuracy: float
    alt: str
    uri: str


@dataclass(frozen=True)
class Gallery:
    """Easiest and hardest units of one network."""

    model: str
    groups: dict[str, list[Exemplar]] = field(default_factory=dict)


# --------------------------------------------------------------------------- input


def read_table(path: Path) -> pd.DataFrame:
    """CSV table whose names stay text, also a network called 50 or null."""
    frame = read_csv(path)
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    # a column of numbers that are all missing reads as empty text
    missing = {name: np.nan for name in frame.columns if (frame[name] == "").all()}
    return frame.assign(**missing | {name: written[name] for name in frame.columns if name in TEXT})


def load_study(params: Params, tables: Path, mis: Path, human: Path, calibration: Path) -> Study:
    """Everything the figures draw. Of the unit scores only networks that are shown or annotated are read."""
    found = {name: read_table(tables / f"{name}.csv") for name in sorted({*TABLES, *figures.TABLES_NEEDED})}
    annotated = read_parquet(human / "units.parquet")
    empty = pd.DataFrame(columns=UNIT_COLUMNS)
    study = Study(
        backends=params.scores.backends,
        confidence=params.stats.confidence,
        n_tasks=params.tasks.n_tasks,
        n_explanations=params.tasks.n_explanations,
        tables=found,
        units=empty,
        human=annotated,
        curve=read_parquet(calibration / "curve.parquet"),
        simulated=params.human.source == "simulated",
    )
    wanted = {*figures.ridge_models(study), *gallery_models(study), *annotated["model"].astype(str)}
    units = _units(mis / "units.parquet", study.lead, sorted(wanted))
    return Study(**{**vars(study), "units": units})


def _units(path: Path, backend: str, models: Sequence[str]) -> pd.DataFrame:
    """Units of some networks under one backend, filtered while reading: the file may hold many millions."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    keep = (ds.field("backend") == backend) & ds.field("model").isin(list(models))
    return ds.dataset(path).to_table(columns=UNIT_COLUMNS, filter=keep).to_pandas()


def gallery_models(study: Study) -> list[str]:
    """Networks shown with pictures: all of few, else the most and the least understandable ones."""
    names = list(study.models()["model"])
    half = MOST_SHOWN_MODELS // 2
    return names if len(names) <= MOST_SHOWN_MODELS else names[:half] + names[-half:]


# --------------------------------------------------------------------------- cells


def number(digits: int) -> Callable[[Any], str]:
    """Formatter with this many decimals and a true minus sign; a missing number is a dash."""
    return lambda value: "–" if _missing(value) else f"{value:z.{digits}f}".replace("-", "−")


def count(value: Any) -> str:
    return "–" if _missing(value) else f"{value:,.0f}"


def short(value: Any) -> str:
    return "–" if _missing(value) else f"{value:.3g}".replace("-", "−")


def text(value: Any) -> str:
    return "–" if _missing(value) or value == "" else str(value)


def p_value(value: Any) -> str:
    if _missing(value):
        return "–"
    return "below 0.0001" if value < 1e-4 else f"{value:.4f}"


def percent(value: Any) -> str:
    """A share as percent with two significant digits."""
    return "–" if _missing(value) else f"{100 * value:.2g} %"


def mark(value: Any) -> str:
    """Outcome of a check in a word, so that colour alone never carries it."""
    if _missing(value):
        return "–"
    return "✓ passed" if value == 1 else "✗ FAILED"


def words(value: Any) -> str:
    return text(value).replace("_", " ").replace(":", ": ")


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """`0.512 to 0.534`, or a dash where no interval is defined."""
    if _missing(low) or _missing(high):
        return "–"
    return f"{number(digits)(low)} to {number(digits)(high)}"


Columns = Mapping[str, tuple[str, Callable[[Any], str]]]


def make_table(frame: pd.DataFrame, caption: str, columns: Columns, *, file: str) -> Table | None:
    """Cells of the named columns, in this order; None for a table without rows. `file` holds all rows."""
    if frame.empty:
        return None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise StudyError(f"{file}: column {', '.join(missing)} is missing; it has {', '.join(frame.columns)}.")
    shown = frame.head(MOST_ROWS)
    cells = [[render(value) for value in shown[name]] for name, (_, render) in columns.items()]
    note = "" if len(shown) == len(frame) else f"The first {len(shown)} of {len(frame):,} rows; all are in {file}."
    return Table(
        caption=caption,
        head=tuple(heading for heading, _ in columns.values()),
        numeric=tuple(render not in (text, words, mark) for _, render in columns.values()),
        rows=tuple(zip(*cells, strict=True)),
        note=note,
    )


def with_interval(frame: pd.DataFrame, stem: str, digits: int = 3, name: str = "interval") -> pd.DataFrame:
    """The frame with `stem_low` and `stem_high` joined into one column of text."""
    pairs = zip(frame[f"{stem}_low"], frame[f"{stem}_high"], strict=True)
    return frame.assign(
        **{name: pd.Series([interval(low, high, digits) for low, high in pairs], index=frame.index, dtype=object)}
    )


def as_is(value: Any) -> str:
    """Ready text in a numeric column."""
    return str(value)


# --------------------------------------------------------------------------- tables of the page

CEILING_VARIANTS = {
    "V1": "answers redrawn from HIS against recorded HIS",
    "V2": "two independent redrawings against each other (reliability)",
    "V3": "redrawn answers against MIS (wording of the paper's appendix)",
    "V4": "true score against recorded HIS (leads)",
    "V4w": "the same, noise estimated from answers to the same task",
    "V4b": "the same, for a score that is a mean over N sampled tasks",
    "V5": "answers drawn from MIS against MIS",
    "mixed": "true score against recorded HIS, with effects of unit, task and person",
    "split_half": "the same, from random halves of the answers (Spearman-Brown)",
    "true": "true shares of the simulated observers against recorded HIS",
}
LEVELS = {"unit": "unit", "unit_within": "unit, inside a network", "model": "network"}
UNIT_SETS = {"all": "all annotated", "outside_split": "outside the calibration split"}


def page_tables(study: Study, params: Params) -> dict[str, Table | None]:
    """Every table of the page by name."""
    tables, controls = study.tables, study.tables["controls"]
    controls = controls.assign(place=figures.control_places(controls["control"])).sort_values("place", kind="stable")
    people = people_word(params)
    lead, pooled = controls["backend"] == study.lead, controls["factor"] == ""
    return {
        "models": _models_table(study),
        "agreement": _agreement_table(study),
        "agreement_differences": _differences_table(study),
        "trials": _trials_table(study),
        "ranking": _ranking_table(study),
        "correlations": _correlations_table(study, "model", "Scores of networks against facts about them", people),
        "layer_correlations": _correlations_table(study, "layer", "Scores of layers against depth and width", people),
        "family_bootstrap": _family_table(study, people),
        "natural_synthetic": _pairs_table(
            study, "natural_synthetic", "Synthetic against natural explanations, unit by unit", people
        ),
        "confidence": _confidence_table(study),
        "ceiling": _ceiling_table(study),
        "share": _share_table(study),
        "his_models": make_table(
            with_interval(tables["his_models"].rename(columns={"low": "his_low", "high": "his_high"}), "his"),
            f"Human scores of networks: mean HIS of units, {people}",
            {
                "model": ("network", text),
                "condition": ("condition", text),
                "his_mean": ("mean HIS", number(3)),
                "interval": ("interval", as_is),
                "n_units": ("units", count),
            },
            file="results/tables/his_models.csv",
        ),
        "conditions": _conditions_table(study, people),
        "conover_layer_types": _conover_table(study, "conover_layer_types", "Layer types compared in pairs", people),
        "conover_models": _conover_table(study, "conover_models", "Networks compared in pairs", people),
        "controls": _controls_table(controls[lead & pooled], f"Controls, similarity {study.lead}"),
        "controls_factors": _controls_table(
            controls[lead & ~pooled], f"Controls by factor, similarity {study.lead}", "factor"
        ),
        "controls_other": _controls_table(controls[~lead & pooled], "Controls, other similarities", "backend"),
        "backends": _backends_table(study),
        "backend_agreement": _backend_agreement_table(study),
        "sensitivity": _sensitivity_table(study),
        "training": _training_table(study),
        "training_gain": _gain_table(study),
        "constant_units": make_table(
            tables["constant_units"],
            "Units that hardly vary (absolute: left out of all scores; else by the relative rule, reported only)",
            {name: (name, text if name in TEXT else short) for name in tables["constant_units"].columns},
            file="results/tables/constant_units.csv",
        ),
        "failures": make_table(
            tables["failures"],
            "What failed",
            {"model": ("network", text), "stage": ("stage", text), "reason": ("reason", text)},
            file="results/tables/failures.csv",
        ),
        "rejected_images": make_table(
            tables["rejected_images"],
            "Files that are not usable pictures",
            {"path": ("file", text), "reason": ("reason", text)},
            file="results/tables/rejected_images.csv",
        ),
        "exclusions": make_table(
            tables["exclusions"],
            "Answers left out",
            {"reason": ("reason", text), "n_responses": ("answers", count), "n_participants": ("participants", count)},
            file="results/tables/exclusions.csv",
        ),
    }


def _models_table(study: Study) -> Table | None:
    rows = study.models()
    rows = with_interval(rows, "mis").assign(
        rank=range(1, len(rows) + 1),
        rank_margin=rows["margin_mean"].rank(ascending=False, method="min"),
        rank_accuracy=rows["accuracy_mean"].rank(ascending=False, method="min"),
    )
    columns: Columns = {
        "model": ("network", text),
        "rank": ("rank", count),
        "mis_mean": ("mean MIS", number(3)),
        "interval": ("interval", as_is),
        "p5": ("5th percentile", number(3)),
        "p50": ("median", number(3)),
        "p95": ("95th percentile", number(3)),
        "mis_sd": ("spread (sd)", number(3)),
        "accuracy_mean": ("accuracy", number(3)),
        "rank_accuracy": ("its rank", count),
        "margin_mean": ("mean margin", short),
        "rank_margin": ("its rank", count),
        "n_units": ("units", count),
        "n_constant": ("constant units", count),
        "tail_share": ("tail share", percent),
        "top1": ("top-1, %", number(1)),
        "params": ("parameters", count),
        "input_size": ("input", text),
    }
    return make_table(rows, f"Networks, similarity {study.lead}", columns, file="results/tables/models.csv")


def _agreement_table(study: Study) -> Table | None:
    rows = study.tables["agreement"]
    for stem in ("pearson", "spearman", "nested"):
        rows = with_interval(rows, stem, 2, f"{stem}_between")
    rows = rows.assign(
        level=rows["level"].map(LEVELS).fillna(rows["level"]), units=rows["units"].map(UNIT_SETS).fillna(rows["units"])
    )
    columns: Columns = {
        "backend": ("similarity", text),
        "level": ("over", text),
        "units": ("units", text),
        "n": ("n", count),
        "pearson": ("Pearson", number(2)),
        "pearson_between": ("interval", as_is),
        "spearman": ("Spearman", number(2)),
        "spearman_between": ("interval", as_is),
        "nested_between": ("nested interval", as_is),
    }
    return make_table(
        rows, "Agreement of MIS with the share of right answers", columns, file="results/tables/agreement.csv"
    )


def _conditions_table(study: Study, people: str) -> Table | None:
    rows = study.tables["conditions"]
    rows = with_interval(rows[rows["backend"] == study.lead], "mis_drop", name="mis_interval")
    return make_table(
        with_interval(rows, "his_drop", name="his_interval"),
        f"Harder tasks: scores by condition, similarity {study.lead}, {people}",
        {
            "model": ("network", text),
            "condition": ("condition", text),
            "mis_mean": ("mean MIS", number(3)),
            "mis_drop": ("below natural", number(3)),
            "mis_interval": ("interval", as_is),
            "n_units": ("units", count),
            "his_mean": ("mean HIS", number(3)),
            "his_drop": ("below natural", number(3)),
            "his_interval": ("interval", as_is),
            "n_annotated": ("annotated units", count),
            "mis_annotated": ("their mean MIS", number(3)),
            "pearson": ("r of MIS and HIS", number(2)),
        },
        file="results/tables/conditions.csv",
    )


def _differences_table(study: Study) -> Table | None:
    """Pearson outside the calibration split; the file holds the rest."""
    rows = study.tables["agreement_differences"]
    rows = rows[(rows["units"] == "outside_split") & (rows["coefficient"] == "pearson")]
    rows = with_interval(rows.rename(columns={"low": "d_low", "high": "d_high"}), "d", 2)
    columns: Columns = {
        "first": ("similarity", text),
        "second": ("minus", text),
        "level": ("over", text),
        "difference": ("difference of Pearson", number(2)),
        "interval": ("interval", as_is),
        "p": ("p", p_value),
        "n": ("n", count),
    }
    rows = rows.assign(level=rows["level"].map(LEVELS).fillna(rows["level"]))
    caption = "Which similarity agrees better: units outside the calibration split, the same resamples for all"
    return make_table(rows, caption, columns, file="results/tables/agreement_differences.csv")


def _trials_table(study: Study) -> Table | None:
    rows = study.tables["trials"]
    for stem, digits in (("slope", 1), ("lapse", 2)):
        rows = with_interval(rows, stem, digits, f"{stem}_between")
    columns: Columns = {
        "backend": ("similarity", text),
        "margin_of": ("margin of the", text),
        "n": ("answers", count),
        "auc": ("right ranked above wrong (AUC)", number(3)),
        "log_loss": ("log-loss", number(4)),
        "gain_over_mean": ("gain over the mean", number(4)),
        "gain_over_unit": ("gain over the unit’s own answers", number(4)),
        "mcfadden": ("McFadden R²", number(3)),
        "slope": ("slope", number(2)),
        "slope_between": ("interval", as_is),
        "lapse": ("lapse", number(3)),
        "lapse_between": ("interval", as_is),
        "unit_variance": ("variance of units", number(3)),
        "participant_variance": ("variance of participants", number(3)),
    }
    return make_table(rows, "Single answers from margins", columns, file="results/tables/trials.csv")


def _ranking_table(study: Study) -> Table | None:
    rows = study.tables["ranking"]
    order = {name: place for place, name in enumerate(study.models()["model"])}
    rows = rows[rows["backend"] == study.lead].sort_values("model", key=lambda names: names.map(order), kind="stable")
    columns: Columns = {
        "model": ("network", text),
        "group": ("units", text),
        "k": ("k", count),
        "naive": ("mean MIS", number(3)),
        "shrunken": ("shrunken", number(3)),
        "cross_fitted": ("on other tasks", number(3)),
        "cross_fitted_se": ("standard error", number(4)),
        "chosen_again": ("chosen again", percent),
        "n_units": ("of units", count),
    }
    caption = f"Easiest, random and hardest units of each network, similarity {study.lead}"
    return make_table(rows, caption, columns, file="results/tables/ranking.csv")


FACT_WORDS = {
    "top1": "top-1 accuracy",
    "n_layers": "number of layers",
    "width_mean": "mean layer width (log)",
    "width_median": "median layer width (log)",
    "params": "parameters (log)",
    "input_size": "input size (log)",
    "depth": "relative depth",
    "relative_width": "relative width",
}


def _correlations_table(study: Study, level: str, caption: str, people: str) -> Table | None:
    """Correlations under the leading similarity and in the answers of people."""
    rows = study.tables["correlations"]
    rows = rows[(rows["level"] == level) & rows["backend"].isin([study.lead, "human"]) & rows["pearson"].notna()]
    rows = with_interval(rows.rename(columns={"low": "r_low", "high": "r_high"}), "r", 2)
    rows = rows.assign(
        backend=rows["backend"].replace({"human": people}), fact=rows["x"].map(FACT_WORDS).fillna(rows["x"]),
        layer_type=rows["layer_type"].replace({"": "all"}),
    )  # fmt: skip
    columns: Columns = {
        "backend": ("scores", text),
        "fact": ("against", text),
        **({"layer_type": ("layer type", text)} if level == "layer" else {}),
        "pearson": ("Pearson", number(2)),
        "interval": ("interval", as_is),
        "p_holm": ("p (Holm)", p_value),
        "spearman": ("Spearman", number(2)),
        "n": ("layers" if level == "layer" else "networks", count),
        **({"n_networks": ("networks", count)} if level == "layer" else {}),
    }
    return make_table(rows, caption, columns, file="results/tables/correlations.csv")


def _family_table(study: Study, people: str) -> Table | None:
    rows = study.tables["family_bootstrap"]
    rows = rows[rows["backend"].isin([study.lead, "human"])].replace({"backend": {"human": people}})
    rows = with_interval(rows.rename(columns={"low": "d_low", "high": "d_high"}), "d")
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    columns: Columns = {
        "pair": ("pair", text),
        "backend": ("scores", text),
        "difference": ("difference of means", number(3)),
        "interval": ("interval over families", as_is),
        "p": ("p", p_value),
        "n_first": ("networks first", count),
        "n_second": ("networks second", count),
        "n_families": ("families", count),
    }
    caption = "Layer types when families of networks are resampled"
    return make_table(rows, caption, columns, file="results/tables/family_bootstrap.csv")


def _pairs_table(study: Study, name: str, caption: str, people: str) -> Table | None:
    rows = study.tables[name]
    rows = rows[rows["backend"].isin([study.lead, "human"])].replace({"backend": {"human": people}})
    rows = with_interval(rows.rename(columns={"low": "d_low", "high": "d_high"}), "d")
    columns: Columns = {
        "model": ("network", text),
        "condition": ("condition", words),
        "base": ("against", words),
        "backend": ("scores", text),
        "n_units": ("units with both", count),
        "mean": ("mean", number(3)),
        "difference": ("difference", number(3)),
        "interval": ("interval", as_is),
        "spearman": ("rank correlation", number(2)),
    }
    return make_table(rows, caption, columns, file=f"results/tables/{name}.csv")


def _confidence_table(study: Study) -> Table | None:
    rows = study.tables["confidence"]
    rows = with_interval(rows.rename(columns={"low": "c_low", "high": "c_high"}), "c")
    columns: Columns = {
        "model": ("network", text),
        "condition": ("condition", words),
        "confidence": ("confidence", count),
        "share": ("share of answers", percent),
        "correct": ("right answers", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
    }
    return make_table(rows, "Confidence and right answers", columns, file="results/tables/confidence.csv")


def kruskal_lines(study: Study, groups: str, people: str) -> list[str]:
    """The test over all groups at once in a sentence for the leading similarity and for people."""
    rows = study.tables["kruskal"]
    rows = rows[(rows["groups"] == groups) & rows["backend"].isin([study.lead, "human"]) & rows["p"].notna()]
    return [
        f"{people if row['backend'] == 'human' else row['backend']}: H = {number(1)(row['statistic'])} "
        f"({count(row['n_groups'])} groups, n = {count(row['n'])}), p {_equals(p_value(row['p']))}, "
        f"ε² = {number(2)(row['epsilon_squared'])}"
        for row in rows.to_dict("records")
    ]


def _equals(shown: str) -> str:
    return shown if shown.startswith("below") else f"= {shown}"


def _ceiling_rows(study: Study, *, shares: bool) -> pd.DataFrame:
    """Rows of noise_ceiling.csv that hold ceilings, or those that hold a similarity's share of the leading one."""
    rows = study.tables["noise_ceiling"]
    rows = rows[pd.to_numeric(rows["share"], errors="coerce").notna() == shares]
    whole = rows[rows["subset"] == "all"]
    # without difficult conditions both subsets are the same units
    same = len(rows) == 2 * len(whole) and set(rows["n_units"]) == set(whole["n_units"])
    return whole if same else rows


def _ceiling_table(study: Study) -> Table | None:
    rows = with_interval(_ceiling_rows(study, shares=False).rename(columns={"low": "r_low", "high": "r_high"}), "r", 2)
    rows = rows.assign(
        what=rows["variant"].map(CEILING_VARIANTS).fillna(""), kind=[_yes(value) for value in rows["is_ceiling"]]
    )
    columns: Columns = {
        "variant": ("variant", text),
        "what": ("what is correlated", text),
        "backend": ("similarity", text),
        "kind": ("a ceiling?", text),
        "mean": ("value", number(3)),
        "sd": ("sd", number(3)),
        "interval": ("interval", as_is),
        "subset": ("units", text),
        "n_units": ("n", count),
    }
    return make_table(rows, "Noise ceiling", columns, file="results/tables/noise_ceiling.csv")


def _share_table(study: Study) -> Table | None:
    rows = with_interval(_ceiling_rows(study, shares=True), "share", 2)
    columns: Columns = {
        "backend": ("similarity", text),
        "share": ("share", number(2)),
        "interval": ("interval", as_is),
        "mean": ("ceiling of these units", number(3)),
        "subset": ("units", text),
        "n_units": ("n", count),
    }
    caption = "Agreement as a share of the ceiling, units outside the calibration split"
    return make_table(rows, caption, columns, file="results/tables/noise_ceiling.csv")


def _yes(value: Any) -> str:
    return "yes" if str(value).lower() in ("1", "1.0", "true") else "no"


def _conover_table(study: Study, name: str, caption: str, people: str) -> Table | None:
    """Pairs under the leading similarity, and in the answers of people by the name they have in this study."""
    rows = study.tables[name]
    rows = rows[rows["backend"].isin([study.lead, "human"])].replace({"backend": {"human": people}})
    rows = rows.assign(pair=rows["first"] + " – " + rows["second"])
    columns: Columns = {
        "pair": ("pair", text),
        "backend": ("scores", text),
        "n_first": ("n first", count),
        "n_second": ("n second", count),
        "effect": ("effect", number(3)),
        "statistic": ("statistic", number(2)),
        "p": ("p", p_value),
        "p_holm": ("p (Holm)", p_value),
        "stars": ("stars", text),
    }
    return make_table(rows, caption, columns, file=f"results/tables/{name}.csv")


def _controls_table(rows: pd.DataFrame, caption: str, *more: str) -> Table | None:
    """Controls; `more` are columns that differ between these rows."""
    columns: Columns = {
        "control": ("control", words),
        **{name: (_MORE[name], text) for name in more},
        "passed": ("outcome", mark),
        "mis_mean": ("mean MIS", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
        "z_sd": ("sd in standard errors", number(2)),
        "expectation": ("expected", text),
    }
    return make_table(with_interval(rows, "mis"), caption, columns, file="results/tables/controls.csv")


_MORE = {"backend": "similarity", "factor": "factor"}


def _backends_table(study: Study) -> Table | None:
    rows = study.tables["backends"].merge(
        study.tables["calibration"].drop_duplicates("backend")[["backend", "literal_mis_mean", "literal_mis_max"]],
        on="backend",
        how="left",
    )
    rows = with_interval(rows, "pearson_his_minus_lead", 2, "his_between")
    ends = zip(rows["slope_low"].map(short), rows["slope_high"].map(short), strict=True)
    between = ["–" if "–" in pair else " to ".join(pair) for pair in ends]
    rows = rows.assign(temperature=1 / rows["slope"].astype(float), interval=between)
    columns: Columns = {
        "backend": ("similarity", text),
        "status": ("slope is", text),
        "slope": ("slope", short),
        "interval": ("interval", as_is),
        "temperature": ("1 / slope", short),
        "n_units": ("units", count),
        "mis_mean": ("mean MIS", number(3)),
        "literal_mis_mean": ("mean MIS, slope 0.16", number(3)),
        "literal_mis_max": ("highest MIS, slope 0.16", number(3)),
        "accuracy_mean": ("accuracy", number(3)),
        "margin_mean": ("mean margin", short),
        "margin_sd": ("sd of margins", short),
        "pearson_his": ("Pearson with HIS", number(2)),
        "spearman_his": ("Spearman with HIS", number(2)),
        "pearson_his_minus_lead": ("Pearson minus leading", number(2)),
        "his_between": ("interval", as_is),
        "spearman_lead": ("rank correlation with leading", number(2)),
        "mean_diff_lead": ("mean MIS minus leading", number(3)),
        "mean_abs_diff_lead": ("mean absolute difference", number(3)),
        "n_forwards": ("forward passes", count),
        "n_pairs": ("pairs asked about", count),
    }
    return make_table(rows, "Similarities compared", columns, file="results/tables/backends.csv and calibration.csv")


def _backend_agreement_table(study: Study) -> Table | None:
    columns: Columns = {
        "first": ("similarity", text),
        "second": ("and", text),
        "n_units": ("units", count),
        "spearman": ("rank correlation", number(2)),
        "mean_diff": ("mean difference of MIS (second minus first)", number(3)),
        "interval": ("interval", as_is),
        "mean_abs_diff": ("mean absolute difference", number(3)),
    }
    rows = with_interval(study.tables["backend_agreement"], "mean_diff")
    file = "results/tables/backend_agreement.csv"
    return make_table(rows, "Similarities against each other, unit by unit", columns, file=file)


def _sensitivity_table(study: Study) -> Table | None:
    columns: Columns = {
        "model": ("network", text),
        "backend": ("similarity", text),
        "setting": ("setting", words),
        "value": ("value", short),
        "mis_mean": ("mean MIS", number(3)),
        "mis_se": ("its standard error", number(4)),
        "spearman": ("rank correlation with own setting", number(3)),
        "mean_abs_diff": ("mean absolute difference", number(3)),
        "n_units": ("units", count),
    }
    return make_table(study.tables["sensitivity"], "Other settings", columns, file="results/tables/sensitivity.csv")


def _training_table(study: Study) -> Table | None:
    frame = figures.training_series(study)
    columns: Columns = {
        "series": ("network", text),
        "step": ("step", count),
        "top1": ("top-1, %", number(1)),
        "mis_mean": ("mean MIS", number(3)),
        "interval": ("interval", as_is),
    }
    return make_table(
        with_interval(frame, "mis"),
        f"Checkpoints, similarity {study.lead}",
        columns,
        file="results/tables/training.csv",
    )


def _gain_table(study: Study) -> Table | None:
    gain = study.tables["training_gain"]
    columns: Columns = {
        "backend": ("similarity", text),
        "series": ("network", text),
        "difference": ("trained minus untrained", number(3)),
        "interval": ("interval", as_is),
        "n_units": ("units", count),
    }
    shown = with_interval(gain.rename(columns={"low": "gain_low", "high": "gain_high"}), "gain")
    return make_table(
        shown, "What training adds to MIS, unit by unit", columns, file="results/tables/training_gain.csv"
    )


# --------------------------------------------------------------------------- figures and pictures


def make_figures(
    study: Study, captions: Path, plots: Path, folder: Path, environment: jinja2.Environment, facts: Mapping[str, Any]
) -> dict[str, FigureView]:
    """Write every series and drawing, and return the figures as the page shows them.

    A figure is drawn from its CSV as read back, so file and drawing never differ.
    """
    views = {}
    for spec in FIGURES:
        path = plots / f"{spec.name}.csv"
        write_csv(path, spec.series(study))
        frame = read_table(path)
        title, paragraphs = read_caption(captions / f"{spec.name}.md", environment, facts)
        if frame.empty:
            views[spec.name] = FigureView(spec.name, absent=spec.absent)
            continue
        wide = figures.render(spec, frame, study, title, narrow=False)
        narrow = figures.render(spec, frame, study, title, narrow=True)
        write_text(folder / f"{spec.name}.svg", wide)
        views[spec.name] = FigureView(
            spec.name,
            title,
            paragraphs,
            spec.alt(frame, study),
            data_uri(wide.encode(), "image/svg+xml"),
            data_uri(narrow.encode(), "image/svg+xml"),
        )
    return views


def read_caption(path: Path, environment: jinja2.Environment, facts: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Title (first line, after `# `) and paragraphs of a caption file; `{{ }}` in it is filled from the study."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Every figure needs a caption there: a line '# Title', then its text.")
    title, _, body = environment.from_string(path.read_text()).render(facts).strip().partition("\n")
    if not title.startswith("# "):
        raise StudyError(f"{path}: the first line is {title!r}, it must be '# ' and the title of the figure")
    blocks = [" ".join(block.split()) for block in body.split("\n\n")]
    # autoescape has made both safe; the title also becomes plain text, for places that escape by themselves
    return Markup(title[2:]).unescape(), tuple(Markup(block) for block in blocks if block)


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


Thumbnail = Callable[[int, int], Image.Image]


def make_galleries(
    study: Study, tasks: Path, manifest: pd.DataFrame, thumbnail: Thumbnail, n_units: int
) -> list[Gallery]:
    """Easiest and hardest units of the networks shown, each with its first task as a picture.

    thumbnail(image row, size) gives a square picture of this size.
    """
    galleries = []
    labels = manifest["label"].astype(str).to_numpy()
    for model in gallery_models(study):
        units = study.units[(study.units["model"] == model) & (study.units["condition"] == "natural")]
        # margins break the ties of saturated scores
        units = units.sort_values(["mis", "margin_mean", *KEY], ascending=[False, False] + [True] * len(KEY))
        table = tasks / f"{model}.parquet"
        if units.empty or not table.is_file():
            continue
        keys = read_parquet(table, KEY)
        rows = {tuple(key): row for row, key in enumerate(keys.itertuples(index=False, name=None))}
        images = np.load(tasks / f"{model}.npy", mmap_mode="r")
        n_each = min(n_units, len(units) // 2)
        chosen = {"Easiest units": units.head(n_each), "Hardest units": units.tail(n_each).iloc[::-1]}
        groups = {
            title: [
                _exemplar(
                    unit, np.asarray(images[rows[tuple(getattr(unit, name) for name in KEY)], 0]), thumbnail, labels
                )
                for unit in group.itertuples()
            ]
            for title, group in chosen.items()
        }
        galleries.append(Gallery(model, groups))
    return galleries


def _exemplar(unit: Any, task: np.ndarray, thumbnail: Thumbnail, labels: np.ndarray) -> Exemplar:
    """Picture and description of one task: [K explanations +, K explanations -, query +, query -]."""
    half = (len(task) - 2) // 2
    most, least, query_most, query_least = task[:half], task[half : 2 * half], task[-2], task[-1]
    picture = task_picture(most, least, int(query_most), int(query_least), thumbnail)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=82, optimize=True)
    name = f"{unit.layer} unit {unit.unit}" + ("" if unit.condition == "natural" else f", {unit.condition}")
    sides = f"Left, least exciting: {_labels(least, labels)}. Right, most exciting: {_labels(most, labels)}."
    alt = f"One task of {name}. {sides}"
    return Exemplar(name, unit.mis, unit.mis_se, unit.accuracy, alt, data_uri(buffer.getvalue(), "image/jpeg"))


def _labels(images: np.ndarray, labels: np.ndarray) -> str:
    """The commonest labels of some images in words."""
    names, counts = np.unique(labels[images], return_counts=True)
    order = np.lexsort((names, -counts))[:3]
    known = [f"{counts[i]} of {len(images)} labelled {names[i]}" for i in order if names[i]]
    return ", ".join(known) or f"{len(images)} images"


def task_picture(
    most: np.ndarray, least: np.ndarray, query_most: int, query_least: int, thumbnail: Thumbnail
) -> Image.Image:
    """One task as an observer sees it: least exciting grid, the two queries, most exciting grid."""
    columns = max(1, math.ceil(math.sqrt(len(most))))
    rows = math.ceil(len(most) / columns)
    gap, space = 2, 10
    side = THUMBNAIL + gap
    query = max(THUMBNAIL, int(1.5 * THUMBNAIL))
    width = 2 * columns * side + 2 * query + 4 * space
    height = max(rows * side - gap, query)
    sheet = Image.new("RGB", (width, height), "white")
    for images, left in ((least, 0), (most, width - columns * side + gap)):
        for place, image in enumerate(images):
            row, column = divmod(place, columns)
            sheet.paste(_square(thumbnail, int(image), THUMBNAIL), (left + column * side, row * side))
    middle = (height - query) // 2
    sheet.paste(_square(thumbnail, query_least, query), (columns * side + space, middle))
    sheet.paste(_square(thumbnail, query_most, query), (columns * side + 2 * space + query, middle))
    return sheet


def _square(thumbnail: Thumbnail, image: int, size: int) -> Image.Image:
    """Square thumbnail of exactly this size, whatever the source gives."""
    picture = thumbnail(image, size).convert("RGB")
    return picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.BICUBIC)


# --------------------------------------------------------------------------- page


def make_environment(folder: Path) -> jinja2.Environment:
    """Jinja with autoescape for every template and an error for every unknown name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "percent": percent, "short": short, "words": words}
    environment.filters |= {"d1": number(1), "d2": number(2), "d3": number(3)}
    environment.globals["interval"] = interval
    return environment


def make_facts(
    study: Study,
    params: Params,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
    images: Mapping[str, Any],
    tasks: Mapping[str, Any],
) -> dict[str, Any]:
    """What the prose and the captions say: every value from a table, a summary or params."""
    ranked, tables = study.models(), study.tables
    controls = tables["controls"]
    judged = controls[pd.to_numeric(controls["passed"], errors="coerce").notna()]
    calibration = tables["calibration"]
    slope = calibration[calibration["backend"] == study.lead]
    agreed = tables["agreement"]
    headline = agreed[
        (agreed["backend"] == study.lead) & (agreed["level"] == "unit") & (agreed["units"] == "outside_split")
    ]
    simulated = params.human.source == "simulated"
    n_compared = int(
        agreed.loc[(agreed["level"] == "unit") & (agreed["units"] == "all"), "n"].max() if len(agreed) else 0
    )
    return {
        "params": params,
        "provenance": flatten({name: value for name, value in provenance.items() if name != "params"}),
        "all_params": flatten(provenance.get("params", {})),
        "device_kinds": ", ".join(map(str, provenance.get("device_kinds", []))),
        "metrics": sorted(metrics.items()),
        "images": images,
        "tasks": tasks,
        "lead": study.lead,
        "backends": study.backends,
        "confidence": f"{100 * study.confidence:g} %",
        "generated": params.images.source == "generated",
        "simulated": simulated,
        "has_human": params.human.source != "none" and n_compared > 0,
        "n_annotated": len(study.human.drop_duplicates(["model", "layer", "unit"])),
        "n_compared": n_compared,
        "people": people_word(params),
        "models": ranked,
        "n_models": len(ranked),
        "n_units": int(ranked["n_units"].sum()),
        "best_margin": _first_by(ranked, "margin_mean"),
        "best_accuracy": _first_by(ranked, "accuracy_mean"),
        "best": first_row(ranked),
        "last": first_row(ranked.iloc[::-1]),
        "agreement": first_row(headline),
        "ceiling": _ceiling(study),
        "share": _share(study),
        "slope": first_row(slope),
        "uncalibrated": sorted(set(calibration.loc[calibration["status"] == "not calibrated", "backend"])),
        "at_bound": sorted(set(calibration.loc[calibration["at_bound"].map(_yes) == "yes", "backend"])),
        "n_judged": len(judged),
        "n_passed": int((judged["passed"] == 1).sum()),
        "failed_controls": judged[judged["passed"] != 1].to_dict("records"),
        "most_ridges": figures.MOST_RIDGES,
        "n_ridges": len(figures.ridge_models(study)),
        "kruskal": {groups: kruskal_lines(study, groups, people_word(params)) for groups in ("models", "layer_types")},
        "margins_of_units": "unit" in set(tables["trials"]["margin_of"]),
        "n_failures": len(tables["failures"]),
        "n_rejected": len(tables["rejected_images"]),
        "n_constant": len(tables["constant_units"]),
    }


def people_word(params: Params) -> str:
    """What those who gave the answers are called wherever they are shown."""
    return "simulated observers" if params.human.source == "simulated" else "people"


def first_row(frame: pd.DataFrame) -> dict[str, Any] | None:
    return frame.iloc[0].to_dict() if len(frame) else None


def _first_by(ranked: pd.DataFrame, column: str) -> str:
    """The network with the highest value of a column."""
    return "" if ranked.empty else str(ranked.loc[ranked[column].idxmax(), "model"])


def _ceiling(study: Study) -> dict[str, Any] | None:
    row = figures.leading_ceiling(study)
    return None if row is None else row.to_dict()


def _share(study: Study) -> dict[str, Any] | None:
    """The leading similarity's agreement as a share of the leading ceiling."""
    rows = _ceiling_rows(study, shares=True)
    rows = rows[rows["backend"] == study.lead]
    whole = rows[rows["subset"] == "all"]
    return first_row(whole if len(whole) else rows)


def flatten(content: Any, prefix: str = "") -> list[tuple[str, str]]:
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


def write_page(path: Path, template: Path, environment: jinja2.Environment, content: Mapping[str, Any]) -> None:
    """Fill the template and write the page."""
    if not template.is_file():
        raise StudyError(f"{template}: no such file. It is part of the repository; restore it with git.")
    write_text(path, environment.get_template(template.name).render(content))
