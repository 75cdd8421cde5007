"""Columns of the page's tables: what each is called, and how its values are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from study.report.page.cells import as_is, count, mark, number, p_value, percent, short, step, text, words

Render = Callable[[Any], str]
Columns = Mapping[str, tuple[str, Render]]  # column of the table -> heading and how its values are written

_TEXT = {
    "backend": "similarity",
    "condition": "condition",
    "expectation": "expected",
    "fact": "against",
    "first": "similarity",
    "group": "units",
    "kind": "a ceiling?",
    "layer": "layer",
    "layer_type": "layer type",
    "level": "over",
    "margin_of": "margin of the",
    "model": "network",
    "pair": "pair",
    "path": "file",
    "reason": "reason",
    "second": "and",
    "series": "network",
    "stage": "stage",
    "stars": "stars",
    "status": "slope is",
    "subset": "units",
    "units": "units",
    "variant": "variant",
    "what": "what is correlated",
}
_INTERVALS = {
    "interval": "interval",
    "his_between": "interval",
    "lapse_between": "interval",
    "mis_between": "interval",
    "nested_between": "nested interval",
    "pearson_between": "interval",
    "slope_between": "interval",
    "slope_range": "over the slope’s interval",
    "splits_range": "over other splits",
    "spearman_between": "interval",
    "these_between": "interval",
}
_COUNTS = {
    "confidence": "confidence",
    "input_size": "input",
    "k": "k",
    "n": "n",
    "n_annotated": "annotated units",
    "n_constant": "constant units",
    "n_families": "families",
    "n_first": "n first",
    "n_layers": "layers",
    "n_forwards": "forward passes",
    "n_networks": "networks",
    "n_pairs": "pairs asked about",
    "n_participants": "participants",
    "n_responses": "answers",
    "n_second": "n second",
    "n_units": "units",
    "params": "parameters",
    "rank": "rank",
    "rank_accuracy": "its rank",
    "rank_margin": "its rank",
}
_TWO_DIGITS = {
    "pearson": "Pearson",
    "pearson_his": "Pearson with HIS",
    "pearson_his_minus_lead": "Pearson minus leading",
    "spearman": "rank correlation",
    "spearman_his": "Spearman with HIS",
    "spearman_lead": "rank correlation with leading",
    "statistic": "statistic",
}
_THREE_DIGITS = {
    "accuracy_mean": "accuracy",
    "auc": "right ranked above wrong (AUC)",
    "correct": "right answers",
    "cross_fitted": "on other tasks",
    "difference": "difference",
    "effect": "effect",
    "his_drop": "below natural",
    "his_mean": "mean HIS",
    "lapse": "lapse",
    "literal_mis_max": "highest MIS, slope 0.16",
    "literal_mis_mean": "mean MIS, slope 0.16",
    "mcfadden": "McFadden R²",
    "mean": "mean",
    "mean_abs_diff": "mean absolute difference",
    "mean_abs_diff_lead": "mean absolute difference",
    "mean_diff": "mean difference of MIS (second minus first)",
    "mean_diff_lead": "mean MIS minus leading",
    "mis_annotated": "their mean MIS",
    "mis_drop": "below natural",
    "mis_mean": "mean MIS",
    "mis_sd": "spread (sd)",
    "naive": "mean MIS",
    "p5": "5th percentile",
    "p50": "median",
    "p95": "95th percentile",
    "participant_variance": "variance of participants",
    "sd": "sd",
    "shrunken": "shrunken",
    "unit_variance": "variance of units",
    "z_sd": "spread in standard errors (z_sd)",
}
_FOUR_DIGITS = {
    "cross_fitted_se": "standard error",
    "gain_over_mean": "gain over the mean",
    "gain_over_unit": "gain over the unit’s own answers",
    "log_loss": "log-loss",
    "mis_se": "its standard error",
}
_SHORT = {
    "margin_mean": "mean margin",
    "margin_sd": "sd of margins",
    "slope": "slope",
    "temperature": "1 / slope",
    "value": "value",
}
_FORMATS: tuple[tuple[Mapping[str, str], Render], ...] = (
    (_TEXT, text),
    ({"base": "against", "control": "control", "setting": "setting"}, words),
    (_INTERVALS, as_is),
    (_COUNTS, count),
    ({"top1": "top-1, %"}, number(1)),
    (_TWO_DIGITS, number(2)),
    (_THREE_DIGITS, number(3)),
    (_FOUR_DIGITS, number(4)),
    (_SHORT, short),
    ({"step": "step"}, step),
    ({"chosen_again": "chosen again", "share": "share of answers", "tail_share": "tail share"}, percent),
    ({"p": "p", "p_holm": "p (Holm)"}, p_value),
    ({"passed": "outcome"}, mark),
)
_KNOWN = {name: (heading, render) for headings, render in _FORMATS for name, heading in headings.items()}


def columns(names: str, **here: str | tuple[str, Render]) -> Columns:
    """Columns in this order, names with spaces between; `here`: what some are called in this table, or are written like, too."""

    def column(name: str) -> tuple[str, Render]:
        own = here.get(name) or _KNOWN[name]
        return (own, _KNOWN[name][1]) if isinstance(own, str) else own

    return {name: column(name) for name in names.split()}
