"""What became of the figures of the crowd paper in a study: what they lack, what stands in place of its networks and machines."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from interpretability.explanations.estimates import relative_error
from interpretability.explanations.fronts import REFERENCE
from study.report.figures import about
from study.report.figures.base import Study
from study.report.figures.crowd_settings import at_budget, crowd_settings
from study.report.figures.crowd_worlds import crowd_pareto, crowd_sampling
from study.report.figures.items import GALLERY, Item
from study.report.figures.paper_of_texts import SECOND
from study.report.figures.raters import texts_kappa
from study.report.figures.texts import AUTOMATIC, OURS, method_rows
from study.report.figures.texts_guides import texts_guides

WORLDS, RATED = "in simulated worlds", "on simulated ratings"
_FORMULAS = "Crowd table 2"  # its texts are formulas
_SETTINGS = {"Crowd 6": "gamma", "Crowd 7": "beta", "Crowd 9": "error_model"}  # panels of one figure here
SIMPLE = "simple"
_MACHINE, _SECOND_MACHINE = "siglip", "siglip2"


def lacking(study: Study, item: Item) -> str:
    """Why a figure of texts that is drawn lacks what the item is about; empty where it does not."""
    if item.ours == GALLERY and item.rated and study.texts.empty:
        return about.ABSENT["texts_automatic"]
    if item.name == _FORMULAS and not (study.texts["kind"].dropna() != SIMPLE).any():
        return "no text is a formula of several concepts"
    if item.name in _SETTINGS and _SETTINGS[item.name] not in set(crowd_settings(study)["setting"]):
        return "other values of this setting were not tried"
    return ""


def machine(study: Study, item: Item) -> str:
    """What says which concepts pictures show in place of the paper's SigLIP, and SigLIP 2; empty where these do."""
    source = study.shown_by.get("presence" if item.ours == "texts_automatic" else "guide", "")
    known = not item.guided or not source or _MACHINE in source.lower()
    second = study.shown_by.get("second", "") if item.ours == SECOND else ""
    replaced = [] if known else [f"{source} in place of SigLIP"]
    if second and _SECOND_MACHINE not in second.lower():
        replaced.append(f"{second} in place of SigLIP 2")
    return " and ".join(replaced)


def networks(study: Study, item: Item) -> set[str]:
    """Networks of a figure of texts in this study."""
    return set(method_rows(study, OURS if item.rated else AUTOMATIC)["model"])


def _highest(score: str) -> Callable[[Study], float]:
    return lambda study: float(method_rows(study, score)["rho_mean"].max())


def _error(score: str) -> Callable[[Study], float]:
    def error(study: Study) -> float:
        rows = study.texts[(study.texts["score"] == score) & study.texts["rho_true"].notna()]
        rows = rows.astype({"rho": float, "rho_true": float})
        return relative_error(rows["rho"], rows["rho_true"]) if rows["rho_true"].abs().sum() > 0 else float("nan")

    return error


def _front(study: Study) -> float:
    rows = crowd_pareto(study)
    return _first(at_budget(rows[rows["method"] == REFERENCE])["rce"])


def _less_than_uniform(study: Study) -> float:
    rows = at_budget(crowd_sampling(study))
    guided, even = (_first(rows.loc[rows["sampler"] == name, "rce"]) for name in ("mg_is", "uniform"))
    return 1 - guided / even


def _between_guides(study: Study) -> float:
    return float(texts_guides(study).drop_duplicates("model")["spearman"].mean())


def _kappa(study: Study) -> float:
    return float(texts_kappa(study)["kappa"].mean())


def _first(values: pd.Series) -> float:
    return float(values.iloc[0]) if len(values) else float("nan")


# the one number that is compared, and how it is found in a study
NUMBERS: dict[str, tuple[str, Callable[[Study], float]]] = {
    "Crowd 2a": ("less error than uniform", _less_than_uniform),
    "Crowd 3a": ("error of both near 550 ratings", _front),
    "Crowd 3b": ("error with BRAgg, guide prior", _error("bragg_guide")),
    "Crowd 4": ("highest mean of a method", _highest(OURS)),
    "Crowd table 1": ("highest mean of a method", _highest(AUTOMATIC)),
    "Crowd table 3": ("mean rank correlation with table 4", _between_guides),
    "Crowd section 4": ("error of the guide alone", _error("guide_only")),
    "Crowd appendix C.7": ("mean kappa", _kappa),
}
