"""Every figure of both papers with what became of it here: none is missing without a reason."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.report.figures.base import Study
from study.report.figures.ceiling import leading_ceiling
from study.report.figures.mis_and_his import agreed

COLUMNS = ["paper", "figure", "what", "ours", "state", "reported", "number", "ours_value"]
BUILT, SIMULATED, GALLERY = "built", "built, answers simulated", "gallery"
HUMAN, IMAGENET = "needs human data", "needs ImageNet"
_NETWORKS = "needs two networks or more"
_CHECKPOINTS = "needs checkpoints of a training"
_SCREEN = "not ours: a screenshot of the web page of the experiment"
_METHOD = "not ours: a drawing of the method; the page shows tasks of real units instead"


@dataclass(frozen=True)
class Item:
    """A figure or number of a paper: ours names the figure here (or the gallery), lacks says why there may be none."""

    paper: str
    figure: str
    what: str
    ours: str = ""
    lacks: str = IMAGENET

    @property
    def people(self) -> bool:
        """Whether the answers of people take part."""
        return self.lacks == HUMAN

    @property
    def name(self) -> str:
        return f"{self.paper} {self.figure}"


def _model_points(study: Study) -> float:
    rows = study.tables["model_points"]
    natural = ~rows["condition"].str.contains("synthetic")
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


MIS, IMI = "MIS", "IMI"
ITEMS = (
    Item(MIS, "1", "schema of task and score", lacks=_METHOD),
    Item(MIS, "2A", "mean MIS against mean HIS by network", "models_mis_his", HUMAN),
    Item(MIS, "2B left", "MIS against HIS by unit", "mis_against_his", HUMAN),
    Item(MIS, "2B right", "mean HIS in bins of MIS", "his_by_mis", HUMAN),
    Item(MIS, "2C", "HIS of easiest, random and hardest units", "extreme_groups", HUMAN),
    Item(MIS, "3", "networks ranked by mean MIS", "models_ranked", _NETWORKS),
    Item(MIS, "4A", "mean MIS against accuracy", "mis_against_accuracy"),
    Item(MIS, "4B", "distribution of MIS in 15 networks", "unit_distribution"),
    Item(MIS, "5", "mean MIS by network and layer type", "layer_types"),
    Item(MIS, "6A", "mean MIS against relative depth", "relative_depth"),
    Item(MIS, "6B", "mean MIS against relative width", "relative_width"),
    Item(MIS, "7", "change by layer in the first epoch", "layer_change", _CHECKPOINTS),
    Item(MIS, "8", "MIS during training, against accuracy", "training", _CHECKPOINTS),
    Item(MIS, "9", "example tasks", GALLERY),
    Item(MIS, "10", "figure 2A for LPIPS, DISTS and DreamSim", "models_mis_his", HUMAN),
    Item(MIS, "11", "similarities beside the noise ceiling", "agreement", HUMAN),
    Item(MIS, "12", "figure 2B for LPIPS, DISTS and DreamSim", "similarities_units", HUMAN),
    Item(MIS, "13a", "convergence, first i of N tasks", "convergence"),
    Item(MIS, "13b", "convergence, tasks rebuilt", "convergence", "needs networks in sensitivity.models"),
    Item(MIS, "14", "figure 2A with synthetic explanations", "models_mis_his_synthetic", HUMAN),
    Item(MIS, "15", "constant units by network", "constant_share", "no network of this study has a constant unit"),
    Item(MIS, "16", "tests between layer types", "layer_type_tests"),
    Item(
        MIS,
        "17",
        "mean MIS against input resolution",
        "mis_against_resolution",
        "needs networks of several input sizes",
    ),
    Item(MIS, "18", "change by layer over the whole training", "layer_change", _CHECKPOINTS),
    Item(MIS, "19", "networks ranked by the 5th percentile", "models_by_p5", _NETWORKS),
    Item(MIS, "20", "units that MIS overestimates", GALLERY, HUMAN),
    Item(MIS, "21", "units that MIS underestimates", GALLERY, HUMAN),
    Item(MIS, "22", "hard units of networks with a wide spread", GALLERY),
    Item(MIS, "section 3", "alpha, read as 1 / slope", "calibration", HUMAN),
    Item(MIS, "appendix B", "noise ceiling", "ceiling_variants", HUMAN),
    Item(IMI, "1", "overview", lacks=_METHOD),
    Item(IMI, "2", "schema of the task", lacks=_METHOD),
    Item(IMI, "3 left", "HIS by network", "his_models", HUMAN),
    Item(IMI, "3 right", "tests between networks, natural", "his_model_tests", HUMAN),
    Item(IMI, "4 left", "HIS against accuracy", "his_against_accuracy", HUMAN),
    Item(
        IMI,
        "4 right",
        "HIS against likeness to human decisions",
        lacks="not ours: the ranks are of the benchmark model-vs-human, which is not run here",
    ),
    Item(IMI, "5", "HIS against the depth of a layer", "his_depth", HUMAN),
    Item(IMI, "6", "HIS by difficulty", "difficulty_levels", HUMAN),
    Item(IMI, "7", "HIS of units by difficulty", "difficulty_units", HUMAN),
    Item(IMI, "8", "one trial as seen by a worker", lacks=_SCREEN),
    Item(IMI, "9", "feature visualisations of some units", lacks="not ours: no feature visualisations are made here"),
    Item(IMI, "10", "gaps between difficulties", "difficulty_gaps", HUMAN),
    Item(IMI, "11", "tests between networks, synthetic", "his_model_tests", HUMAN),
    Item(IMI, "12", "natural against synthetic by unit", "natural_synthetic", HUMAN),
    Item(IMI, "13", "confidence against correctness", "confidence", HUMAN),
    Item(IMI, "14", "figure 6 for shared units", "difficulty_levels", HUMAN),
    Item(IMI, "15", "checks of sessions", "exclusion_checks", HUMAN),
    Item(IMI, "16", "histograms of activations", "activation_histograms", "needs units whose whole column is kept"),
    Item(IMI, "17", "local contrast against HIS", "map_contrast", HUMAN),
    Item(IMI, "18", "sparseness of positions against HIS", "map_pixel_sparseness", HUMAN),
    Item(IMI, "19", "sparseness of channels against HIS", "map_channel_sparseness", HUMAN),
    *(Item(IMI, str(number), "screenshots", lacks=_SCREEN) for number in range(20, 24)),
)
# what the paper reports, in a few words
REPORTED = {
    "MIS 2A": "Pearson .98, Spearman .94",
    "MIS 2B left": "Pearson .80, Spearman .80",
    "MIS 2B right": "rises from bin to bin",
    "MIS 2C": "MIS .99 and .99 of the easiest, .63 and .59 of the hardest; HIS differs significantly",
    "MIS 3": ".80 to .91",
    "MIS 4A": "Pearson −.50, Spearman −.55",
    "MIS 4B": "one mode; two where it is wide",
    "MIS 5": "Linear, Conv, BatchNorm, LayerNorm",
    "MIS 6A": "high, dip, rise, drop",
    "MIS 6B": "positive; less so for BatchNorm",
    "MIS 7": "the last BatchNorm of each block gains most",
    "MIS 8": ".93 after one epoch, then a slow decay",
    "MIS 10": "similar for all three",
    "MIS 11": "DreamSim .80, ceiling .82",
    "MIS 12": "LPIPS and DISTS worse than DreamSim",
    "MIS 13a": "to zero",
    "MIS 13b": "to zero, more slowly than in 13a",
    "MIS 14": "a high correlation",
    "MIS 15": "256 of 835 networks have none",
    "MIS 16": "significant",
    "MIS 17": "no trend",
    "MIS 19": "a wider spread than in figure 3",
    "MIS section 3": ".16",
    "MIS appendix B": ".82",
    "IMI 3 left": "natural .78 to .88, synthetic .60 to .71; mean of natural ones .831",
    "IMI 3 right": "mostly not significant",
    "IMI 4 left": "no gain with accuracy",
    "IMI 5": "strong for two Clip networks alone",
    "IMI 6": "a large drop at medium already",
    "IMI 7": "almost all units fall",
    "IMI 11": "mostly not significant",
    "IMI 12": "strong for some networks",
    "IMI 13": "more confident, more often right",
    "IMI 14": "like figure 6; 63 units shared",
    "IMI 15": "most participants pass",
    "IMI 16": "one mode",
    "IMI 17": "Spearman −.24 to .14",
    "IMI 18": "Spearman −.13 to .31",
    "IMI 19": "no relation",
}
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
    "MIS appendix B": ("variant V4", _ceiling),
    "IMI 3 left": ("mean of natural ones", _natural_his),
    "IMI 17": ("largest absolute Spearman", _largest_map("contrast")),
    "IMI 18": ("largest absolute Spearman", _largest_map("pixel_sparseness")),
    "IMI 19": ("largest absolute Spearman", _largest_map("channel_sparseness")),
}
# parts of a figure that may be missing while the figure is there: table, column and value that must occur
_PARTS = {"IMI 11": ("conover_models", "backend", "human_synthetic"), "MIS 13b": ("sensitivity", "setting", "n_tasks")}


def checklist(study: Study, drawn: Collection[str], known: Collection[str]) -> pd.DataFrame:
    """Every figure of both papers: COLUMNS. `drawn` are the `known` figures of this study that have data.

    state: built; built, answers simulated; or why there is none. ours_value is what `number` names, in this study: its
    networks, images and people may be others than those of the papers.
    """
    rows = []
    for item in ITEMS:
        assert item.ours in {"", GALLERY, *known}, item.ours
        has = item.ours in drawn or (item.ours == GALLERY and (not item.people or len(study.human) > 0))
        if (part := _PARTS.get(item.name)) is not None:
            table, column, value = part
            has &= study.tables[table][column].eq(value).any()
        state = (SIMULATED if item.people and study.simulated else BUILT) if has else item.lacks
        number, of_study = NUMBERS.get(item.name, ("", None))
        value = of_study(study) if of_study is not None and has else np.nan
        reported = REPORTED.get(item.name, "")
        rows.append((item.paper, item.figure, item.what, item.ours, state, reported, number, value))
    return pd.DataFrame(rows, columns=COLUMNS)
