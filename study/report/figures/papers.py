"""Every figure of the three papers, what it shows, and what the paper reports: facts of the papers alone.

`checklist` says what became of each in a study.
"""

from __future__ import annotations

from dataclasses import replace

from study.report.figures import paper_of_texts
from study.report.figures.items import (
    DREAMSIM,
    GALLERY,
    MADE_GALLERY,
    METHOD,
    NINE,
    NO_SCORE,
    SCREEN,
    Item,
    drawing,
)

_CONVOLUTIONAL = tuple(name for name in NINE if not name.endswith("vit_b32"))
_HARDER = ("resnet50", "clip_resnet50")  # those whose units were also asked about with harder tasks
_OTHERS = ("lpips", "dists", "dreamsim")
_CHECKPOINTS = "checkpoints of a training (studies/training.yaml)"


def _of_people(figure: str, what: str, ours: str, similar: tuple[str, ...] = DREAMSIM) -> Item:
    """A figure of the MIS paper that sets scores beside the answers of the IMI record."""
    return Item(MIS, figure, what, ours, NINE, similar, people=True)


def _imi(figure: str, what: str, ours: str, networks: tuple[str, ...] = NINE, *, made: bool = False) -> Item:
    """A figure of the IMI paper: answers of people, no similarity."""
    return Item(IMI, figure, what, ours, networks, NO_SCORE, people=True, made=made)


MIS, IMI = "MIS", "IMI"
_RESNET = ("resnet50",)
_GOOGLENET = ("googlenet",)
ITEMS = (
    drawing(MIS, "1", "schema of task and score", METHOD),
    _of_people("2A", "mean MIS against mean HIS by network", "models_mis_his"),
    _of_people("2B left", "MIS against HIS by unit", "mis_against_his"),
    _of_people("2B right", "mean HIS in bins of MIS", "his_by_mis"),
    Item(
        *(MIS, "2C", "HIS of easiest, random and hardest units", "extreme_groups", ("googlenet", "resnet50")),
        people=True,
    ),
    Item(MIS, "3", "networks ranked by mean MIS", "models_ranked"),
    Item(MIS, "4A", "mean MIS against accuracy", "mis_against_accuracy"),
    Item(MIS, "4B", "distribution of MIS in 15 networks", "unit_distribution", 15),
    Item(MIS, "5", "mean MIS by network and layer type", "layer_types"),
    Item(MIS, "6A", "mean MIS against relative depth", "relative_depth"),
    Item(MIS, "6B", "mean MIS against relative width", "relative_width"),
    Item(MIS, "7", "change by layer in the first epoch", "layer_change", _RESNET, lacks=_CHECKPOINTS),
    Item(MIS, "8", "MIS during training, against accuracy", "training", _RESNET, lacks=_CHECKPOINTS),
    Item(MIS, "9", "example tasks", GALLERY, ()),
    _of_people("10", "figure 2A for LPIPS, DISTS and DreamSim", "models_mis_his", _OTHERS),
    _of_people("11", "similarities beside the noise ceiling", "agreement", _OTHERS),
    _of_people("12", "figure 2B for LPIPS, DISTS and DreamSim", "similarities_units", _OTHERS),
    Item(MIS, "13a", "convergence, first i of N tasks", "convergence", _GOOGLENET),
    Item(MIS, "13b", "convergence, tasks rebuilt", "convergence", _GOOGLENET),
    Item(
        *(MIS, "14", "figure 2A with synthetic explanations", "models_mis_his_synthetic", NINE),
        people=True,
        half="mis_natural_synthetic",
        made=True,
    ),
    Item(
        *(MIS, "15", "constant units by network", "constant_share"),
        similar=NO_SCORE,
        lacks="a network with constant units (studies/imagenet.yaml: most published networks have some)",
    ),
    Item(
        MIS,
        "16",
        "tests between layer types",
        "layer_type_tests",
        lacks="layer types that four families of networks share (studies/imagenet.yaml)",
    ),
    Item(
        *(MIS, "17", "mean MIS against input resolution", "mis_against_resolution"),
        lacks="networks of several input sizes (studies/resolution.yaml)",
    ),
    Item(MIS, "18", "change by layer over the whole training", "layer_change", _RESNET, lacks=_CHECKPOINTS),
    Item(MIS, "19", "networks ranked by the 5th percentile", "models_by_p5"),
    Item(MIS, "20", "units that MIS overestimates", GALLERY, (), people=True),
    Item(MIS, "21", "units that MIS underestimates", GALLERY, (), people=True),
    Item(MIS, "22", "hard units of networks with a wide spread", GALLERY, ()),
    _of_people("section 3", "alpha, read as 1 / slope", "calibration"),
    _of_people("appendix B", "noise ceiling", "ceiling_variants", NO_SCORE),
    drawing(IMI, "1", "overview", METHOD),
    drawing(IMI, "2", "schema of the task", METHOD),
    _imi("3 left", "HIS by network", "his_models"),
    _imi("3 right", "tests between networks, natural", "his_model_tests"),
    _imi("4 left", "HIS against accuracy", "his_against_accuracy"),
    replace(
        _imi("4 right", "HIS against likeness to human decisions", "likeness_to_people"),
        lacks="published likeness of these networks to people (stats.likeness: tables of model-vs-human or brain-score)",
    ),
    _imi("5", "HIS against the depth of a layer", "his_depth"),
    _imi("6", "HIS by difficulty", "difficulty_levels", _HARDER),
    _imi("7", "HIS of units by difficulty", "difficulty_units", _HARDER),
    drawing(IMI, "8", "one trial as seen by a worker", SCREEN),
    Item(IMI, "9", "feature visualisations of some units", MADE_GALLERY, (), NO_SCORE, made=True),
    _imi("10", "gaps between difficulties", "difficulty_gaps", _HARDER),
    _imi("11", "tests between networks, synthetic", "his_model_tests", made=True),
    _imi("12", "natural against synthetic by unit", "natural_synthetic", made=True),
    _imi("13", "confidence against correctness", "confidence"),
    _imi("14", "figure 6 for shared units", "difficulty_levels", _HARDER),
    _imi("15", "checks of sessions", "exclusion_checks", ()),
    Item(
        *(IMI, "16", "histograms of activations", "activation_histograms", _GOOGLENET, NO_SCORE),
        lacks="units whose whole column is kept",
    ),
    _imi("17", "local contrast against HIS", "map_contrast", _CONVOLUTIONAL),
    _imi("18", "sparseness of positions against HIS", "map_pixel_sparseness"),
    _imi("19", "sparseness of channels against HIS", "map_channel_sparseness"),
    *(drawing(IMI, str(number), "screenshots", SCREEN) for number in range(20, 24)),
    *paper_of_texts.ITEMS,
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
    "IMI 4 right": "no gain with likeness",
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
    **paper_of_texts.REPORTED,
}
