"""Every figure and table of the paper on text explanations and the crowd that judges them: facts of the paper alone."""

from __future__ import annotations

from study.report.figures.items import GALLERY, METHOD, NO_SCORE, SCREEN, Item, drawing, of_authors

CROWD = "Crowd"
SECOND = "texts_guides"  # the figure with a second guide
_BOTH, _RESNET = ("resnet50", "vit_b16"), ("resnet50",)
_TIMES = "how long each method's own program ran on the authors' machine; stages here keep their times in runs.jsonl"


def _texts(figure: str, what: str, ours: str, *, rated: bool = True, guided: bool = True, but: str = "") -> Item:
    """A figure of texts for units of two networks."""
    return Item(CROWD, figure, what, ours, _BOTH, NO_SCORE, rated=rated, guided=guided, but=but)


def _world(figure: str, what: str, ours: str, but: str = "") -> Item:
    """A figure of the simulations, whose truth is known."""
    return Item(CROWD, figure, what, ours, (), NO_SCORE, worlds=True, but=but)


_RATED = "simulated raters in place of 10 units rated on MTurk"
_QUALITY = "guides of known quality in place of CLIP, SigLIP and SigLIP 2"
ITEMS = (
    drawing(CROWD, "1", "overview of the evaluation", METHOD),
    _world("2a", "error by sampler and number of inputs, no noise", "crowd_sampling"),
    _world("2b", "error by aggregation and raters, all inputs", "crowd_aggregation"),
    _world("3a", "error by ratings, sampler and aggregation", "crowd_pareto"),
    _texts(
        "3b", "error of rated scores where the truth is known", "texts_truth", but="at one budget in place of a front"
    ),
    _texts("4", "score from ratings by method", "texts_crowd"),
    _world("5", "error by cost for several numbers of raters", "crowd_raters", _RATED),
    _world("6", "error by gamma of MG-IS", "crowd_settings"),
    _world("7", "error by the uniform prior of BRAgg", "crowd_settings", _RATED),
    _world("8", "sampling by activation alone (AG-IS)", "crowd_sampling"),
    _world("9", "one error rate or one for every image", "crowd_settings", _RATED),
    _world("10", "people against the guide alone, by ratings", "crowd_pareto", _RATED),
    _world("11", "guides that choose the inputs", "crowd_guides", _QUALITY),
    _world("12", "guides that are the prior", "crowd_guides", _QUALITY),
    drawing(CROWD, "13", "the page that raters see", SCREEN),
    *(_texts(str(number), "units with their texts and scores", GALLERY) for number in (14, 15, 16)),
    _texts("table 1", "automatic score by method, one concept", "texts_automatic", rated=False),
    _texts("table 2", "automatic score by method, formulas", "texts_automatic", rated=False),
    _texts("table 3", "scores with another guide as prior", SECOND),
    _texts("table 4", "score from ratings by method and aggregation", "texts_crowd"),
    _texts("table 5", "tests between methods", "texts_tests", but="paired, all methods against each other"),
    of_authors(CROWD, "table 6", "run time of simple methods", _TIMES),
    of_authors(CROWD, "table 7", "run time of complex methods", _TIMES),
    _texts("section 4", "error of the guide alone", "texts_truth", rated=False),
    _texts("appendix C.7", "agreement of raters", "texts_kappa", guided=False),
)
REPORTED = {
    "Crowd 2a": "MG-IS needs 15 times fewer inputs, or errs 65 % less",
    "Crowd 2b": "BRAgg with the guide lowest; the average fails with 100 raters too",
    "Crowd 3a": "27.5 % at 550 ratings with both, 1,760 with MG-IS, 14,607 with BRAgg, 22,560 with neither",
    "Crowd 3b": "19.8 % at 550 ratings with both, at 2,000 with MG-IS alone",
    "Crowd 4": "LE(SigLIP) first in both networks",
    "Crowd 5": "3 raters at 2.16 dollars: about 25 % with the uniform prior, 20 % with SigLIP's",
    "Crowd 6": "a gain of about 10 % at .2, flat around it",
    "Crowd 7": "little effect from .02 to .2",
    "Crowd 8": "alpha 2 best; behind MG-IS, far ahead of uniform",
    "Crowd 9": "alike, one error rate slightly better",
    "Crowd 10": "the guide alone equals 100 ratings with its prior, 800 without",
    "Crowd 11": "CLIP errs 5 % more than SigLIP, SigLIP 2 2 % less",
    "Crowd 12": "200 inputs by 3 raters: 19.70 % with SigLIP, 17.95 % with SigLIP 2",
    "Crowd 14": "RN50: no very high correlation",
    "Crowd 15": "methods of high variance fail for some units",
    "Crowd 16": "ViT: several units above .5",
    "Crowd table 1": "LE(SigLIP) first: .241 (RN50) and .297 (ViT)",
    "Crowd table 2": "LE(SigLIP) first: .377 (RN50) and .349 (ViT)",
    "Crowd table 3": "the order of table 4, slightly higher in ViT",
    "Crowd table 4": "LE(SigLIP) first: .180 (RN50) and .245 (ViT) with the guide as prior, .126 and .102 without",
    "Crowd table 5": "LE above the others in 14 of 16 tests, not corrected",
    "Crowd table 6": "5 minutes (CLIP-Dissect) to 255 hours (MAIA)",
    "Crowd table 7": "1 hour (LE) to 275 hours (CCE)",
    "Crowd section 4": "32.10 % over all units, 22.47 % over ten",
    "Crowd appendix C.7": ".395 where the truth is known; .274 (RN50) and .191 (ViT) in the study; .774 among authors",
}
