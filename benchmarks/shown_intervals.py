"""Which intervals the tables and the page show, and which rows of coverage.csv say what they cover.

An interval is a pair of columns of a table in results/tables (or of a figure's series in results/plots, or of a table of
`tools.psychophysics`), named by table and stem: (table, "") has low and high, (table, "x") has x_low and x_high.
"""

from __future__ import annotations

from benchmarks.covered import BINS, CONFIDENCES, FEW, SPLITS
from interpretability.people import ceiling

_SLOPES = tuple(f"slope, {n} units" for n in SPLITS)
_LEVELS = ("unit", "unit_within")
_MEAN_HIS, _THESE = "mean HIS, two-way, other people", "mean HIS, logit t, these people"
_MEAN_MIS = ("mean MIS, network", f"mean MIS, {FEW} units")
_CONDITIONS = ("difference of conditions, MIS", "difference of conditions, HIS, these people")
SHOWN: dict[tuple[str, str], tuple[str, ...]] = {
    ("agreement", "pearson"): (*(f"pearson, {level}" for level in _LEVELS), "pearson, model"),
    ("agreement", "spearman"): (*(f"spearman, {level}" for level in _LEVELS), "spearman, model"),
    ("agreement", "nested"): ("pearson, model, nested, as many units",),
    ("agreement_differences", ""): tuple(f"difference of {r}, {of}" for r in ("pearson", "spearman") for of in _LEVELS),
    ("backend_agreement", "mean_diff"): ("difference of similarities, MIS",),
    ("backends", "slope"): _SLOPES,
    ("backends", "pearson_his_minus_lead"): ("difference of pearson, unit",),
    ("calibration", ""): _SLOPES,
    ("calibration", "pearson"): ("pearson, unit",),
    ("conditions", "mis_drop"): _CONDITIONS[:1],
    ("conditions", "his_drop"): _CONDITIONS[1:],
    ("confidence", ""): tuple(f"right answers, confidence {n}" for n in CONFIDENCES),
    ("controls", "mis"): ("controls at chance", f"controls at chance, {FEW} units", *_MEAN_MIS),
    ("correlations", ""): ("pearson, model", "layers against depth", "layers against depth, one type"),
    ("depth", "mis"): _MEAN_MIS[1:],
    ("difficulty", ""): _CONDITIONS,
    ("explanation_methods", ""): ("mean score of a method",),
    ("explanation_tests", ""): ("difference of methods",),
    ("family_bootstrap", ""): ("layer types, networks alone", "layer types, families"),
    ("groups", "his"): ("mean HIS, easiest units", f"mean HIS, {FEW} units", _THESE),
    ("his_bins", "his"): tuple(f"mean HIS, bin {n} of MIS" for n in BINS),
    ("his_models", ""): (_MEAN_HIS,),
    ("his_models", "these"): (_THESE,),
    ("his_models", "bca"): ("mean HIS, BCa, these people",),
    ("layer_bins", "mis"): ("layers in a bin of depth", "layers in a bin of width"),
    ("layer_types", "mis"): _MEAN_MIS,
    ("model_points", "mis"): _MEAN_MIS,
    ("model_points", "his"): (_MEAN_HIS,),
    ("models", "mis"): _MEAN_MIS[:1],
    ("made_slopes", ""): _SLOPES,
    ("natural_synthetic", ""): _CONDITIONS,
    ("noise_ceiling", ""): ("V1", "V2", "V3", "V4", "V4w", "V4b", "V5", "mixed", "split_half", "true"),
    ("noise_ceiling", "share"): ("share of V4", "share of V4w"),
    ("psychophysics groups", ""): (_MEAN_HIS,),
    ("psychophysics groups", "these"): (_THESE,),
    ("psychophysics tests", ""): ("difference of groups, HIS",),
    ("training", "mis"): _MEAN_MIS[:1],
    ("training_gain", ""): ("training gain", "training gain, mean over series"),
    # with people by the functions that make those of agreement; centred by layer where these are centred by network
    ("scores_compared", ""): (
        *(f"{r}, {of}" for r in ("pearson", "spearman") for of in _LEVELS),
        "rank correlation within layers",
    ),
    ("scores_compared", "difference"): tuple(
        f"difference of {r}, {of}" for r in ("pearson", "spearman") for of in _LEVELS
    ),
    ("units_or_directions", ""): ("directions, one layer", "directions, over layers"),
    ("trial_calibration", ""): tuple(f"single answers, bin {n}" for n in BINS),
    ("trials", "intercept"): ("single answers, intercept",),
    ("trials", "slope"): ("single answers, slope",),
    ("trials", "lapse"): ("single answers, lapse",),
}
# computed by the functions that make those of another table of SHOWN
SAME = {
    ("likeness", "pearson"): ("agreement", "pearson"),
    ("likeness", "spearman"): ("agreement", "spearman"),
    ("likeness_networks", ""): ("model_points", "mis"),
}
# measured by a script and table of their own in benchmarks/results: its columns of coverage
ELSEWHERE = {
    ("explanation_kinds", ""): ("explanation_kinds_coverage.csv", "covered"),
    ("judged_pairs", ""): ("judged_pairs.csv", "covered_ours"),
}
_OF_LEVELS = ("backends", "calibration", "models")
_OF_TUNING = ("r_untuned", "r_tuned", "gain", "share_tuned", "log_loss_gain")
_TUNED = "range over resampled units with the weights as they are; benchmarks/results/tuning.csv says what it covers"
# columns low and high that are no interval of anything unknown
NO_INTERVALS = {
    ("activation_histograms", ""): "edges of a bin",
    ("calibration_splits", ""): "central range over splits of the same units",
    ("checks", ""): "edges of a bin",
    ("checks", "bound"): "the limits that a session must keep",
    ("controls", "z"): "the limits that a spread must keep",
    **{("tuning", stem): _TUNED for stem in _OF_TUNING},
    **{(name, "mis_slope"): "means at the ends of the interval of the slope" for name in _OF_LEVELS},
    **{(name, "mis_splits"): "central range over splits of the same units" for name in _OF_LEVELS},
}
# rows for a truth that the interval is not meant for, to show by how much it misses
NOT_MEANT = {
    "directions, twins taken for layers",
    "V4, true shares",
    "mean HIS, BCa, other people",
    "mean HIS, logit t, other people",
    "mean HIS, two-way, these people",
    "mean MIS, network, other layers",
    "pearson, model, nested, true means",
}
# meant, but outside LIMITS: what the table that shows it says instead
LIMITS = 0.93, 0.985
MARKED = {
    **dict.fromkeys(ceiling.SIMULATED, "column calibrated is 0, and the page says: not calibrated"),
    "mean HIS, BCa, these people": "columns named bca, as the paper's; the page says that they cover too seldom",
}


def tables_of(quantity: str) -> list[str]:
    """Tables that show an interval of this quantity."""
    return sorted({table for (table, _), quantities in SHOWN.items() if quantity in quantities})
