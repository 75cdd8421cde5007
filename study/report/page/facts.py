"""What the prose and the captions say of a study, every value from a table, a summary or the recorded parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from study.report.figures import ceiling, ranking
from study.report.figures.base import Study
from study.report.page.cells import count, number, p_value, yes
from study.report.page.tables_of_answers import ceiling_rows


def make_facts(
    study: Study,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
    images: Mapping[str, Any],
    tasks: Mapping[str, Any],
) -> dict[str, Any]:
    """What the prose and the captions say: every value from a table, a summary or the recorded parameters."""
    ranked, tables, params = study.models(), study.tables, provenance["params"]
    controls = tables["controls"]
    judged = controls[pd.to_numeric(controls["passed"], errors="coerce").notna()]
    calibration = tables["calibration"]
    slope = calibration[calibration["backend"] == study.lead]
    agreed = tables["agreement"]
    headline = agreed[
        (agreed["backend"] == study.lead) & (agreed["level"] == "unit") & (agreed["units"] == "outside_split")
    ]
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
        "generated": params["images"]["source"] == "generated",
        "simulated": study.simulated,
        "has_human": params["human"]["source"] != "none" and n_compared > 0,
        "n_annotated": len(study.human.drop_duplicates(["model", "layer", "unit"])),
        "n_compared": n_compared,
        "people": study.people,
        "models": ranked,
        "n_models": len(ranked),
        "model_names": list(ranked["model"]),
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
        "at_bound": sorted(set(calibration.loc[calibration["at_bound"].map(yes) == "yes", "backend"])),
        "n_judged": len(judged),
        "n_passed": int((judged["passed"] == 1).sum()),
        "failed_controls": judged[judged["passed"] != 1].to_dict("records"),
        "most_ridges": ranking.MOST_RIDGES,
        "n_ridges": len(ranking.ridge_models(study)),
        "kruskal": {groups: kruskal_lines(study, groups) for groups in ("models", "layer_types")},
        "margins_of_units": "unit" in set(tables["trials"]["margin_of"]),
        "n_failures": len(tables["failures"]),
        "n_rejected": len(tables["rejected_images"]),
        "n_constant": len(tables["constant_units"]),
    }


def first_row(frame: pd.DataFrame) -> dict[str, Any] | None:
    return frame.iloc[0].to_dict() if len(frame) else None


def _first_by(ranked: pd.DataFrame, column: str) -> str:
    """The network with the highest value of a column."""
    return "" if ranked.empty else str(ranked.loc[ranked[column].idxmax(), "model"])


def _ceiling(study: Study) -> dict[str, Any] | None:
    row = ceiling.leading_ceiling(study)
    return None if row is None else row.to_dict()


def _share(study: Study) -> dict[str, Any] | None:
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


def _equals(shown: str) -> str:
    return shown if shown.startswith("below") else f"= {shown}"


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
