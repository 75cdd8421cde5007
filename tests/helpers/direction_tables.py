"""Tables about directions and other scores, for the fabricated study of `report_fixture`."""

from __future__ import annotations

import pandas as pd

from interpretability.analysis import bases
from interpretability.randomness import generator
from interpretability.schema import NATURAL, ONE_SIDED
from study.files.tables import read_csv, write_csv
from study.report.figures.bases import KNOWN
from study.report.figures.other_scores import SCORES

LEVEL = dict(zip(KNOWN, (0.58, 0.58, 0.625, 0.68, 0.73, 0.73), strict=True))  # of one-sided tasks
NATURALLY = dict(zip(KNOWN, (0.70, 0.70, 0.71, 0.68, 0.74, 0.737), strict=True))
HIGHER, LOWER = "c.mlp", "stem.conv"  # layers whose directions are easier, or harder, than their units


def write_direction_tables(folder, units, networks, *, lead):
    """Other directions of the first two networks, a superposed layer, latents, scores beside MIS and judged pairs."""
    draw = generator(0, "direction tables")
    tables = folder / "tables"
    write_csv(tables / "units_or_directions.csv", _compared(units, networks[:2], draw))
    _superposed(tables / "controls.csv", units["backend"].unique())
    latents = (networks[0], "b.conv", 4096, 130, 1200, 2766, 200, 0.002, 0.0312, 0.21)
    columns = "model layer n_latents n_dead n_too_sparse n_scored needed firing_p10 firing_median firing_p90"
    write_csv(tables / "sparse_codes.csv", pd.DataFrame([latents], columns=columns.split()))
    write_csv(tables / "scores_compared.csv", _scores(lead, draw))
    names = [
        f"{name}_{end}"
        for name in ("rho", "spearman", "ms", "ms_null", "ms_z", "index", "index_null")
        for end in ("mean", "se")
    ]
    names += [f"{name}_{end}" for name in ("firing", "peak_energy", "participation") for end in ("mean", "se")]
    rows = [(lead, name, "", 108, *([0.61, 0.002] * 10)) for name in networks]
    write_csv(tables / "label_free.csv", pd.DataFrame(rows, columns=["backend", "model", "layer", "n_units", *names]))
    judged = "score source backend n_pairs n_left_out n_units n_ties share low high mean_over_bins n_bins"
    row = ("mis", "ours", lead, 1000, 4, 950, 2, 0.79, 0.75, 0.83, 0.82, 9)
    pairs = pd.DataFrame([row], columns=judged.split())
    write_csv(tables / "judged_pairs.csv", pairs)


def _compared(units, networks, draw):
    parts = []
    for model in networks:
        for backend in units["backend"].unique():
            own = units[(units["model"] == model) & (units["backend"] == backend)]
            both = pd.concat([own, own.assign(condition=ONE_SIDED, mis=0.9 * own["mis"])])
            shift = both["layer"].map({HIGHER: 0.2, LOWER: -0.2}).fillna(0.0)
            turned = both.assign(mis=both["mis"] + shift + draw.normal(0, 0.02, len(both)))
            kinds = dict.fromkeys(own["layer"], ("rotation", "mean"))
            names = {"model": f"{model}-rotation", "base": model, "backend": backend}
            parts.append(bases.compare_bases(turned, both, **names, kinds=kinds, clusters={}, confidence=0.95))
    return pd.concat(parts, ignore_index=True)


def _superposed(path, backends):
    controls = read_csv(path).assign(condition=NATURAL)
    rows = [
        {
            **dict.fromkeys(controls.columns, ""),
            "backend": backend,
            "control": f"superposed_{layer}",
            "condition": condition,
            "n_units": 96,
            "mis_mean": level,
            "mis_low": level - 0.02,
            "mis_high": level + 0.02,
            "passed": 1,
            "expectation": "mixture, rotation < trained < inference, features" if condition == ONE_SIDED else "",
        }
        for backend in backends
        for condition, levels in ((ONE_SIDED, LEVEL), (NATURAL, NATURALLY))
        for layer, level in levels.items()
    ]
    write_csv(path, pd.concat([controls, pd.DataFrame(rows)], ignore_index=True))


def _scores(lead, draw):
    rows = []
    for place, score in enumerate(SCORES):
        for level in ("unit", "layer"):
            value = 0.6 - 0.05 * place
            ends = (value, value - 0.08, value + 0.07) if level == "unit" else (value, "", "")
            apart = ("", "", "", "") if score == "mis" else (value - 0.6, value - 0.65, value - 0.5, 0.01)
            rows += [
                (lead, "people", level, coefficient, score, "his", 200, 9, *ends, *apart[:3], apart[3], apart[3])
                for coefficient in ("pearson", "spearman")
            ]
    names = list(SCORES)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            for level, value in (("unit", 0.83), ("layer", 0.67)):
                known = value if {first, second} == {"mis", "rho"} else float(draw.uniform(-0.9, 0.9))
                rows.append((lead, "scores", level, "spearman", first, second, 300, 9, known, *[""] * 7))
    columns = "backend part level coefficient first second n n_groups value low high difference difference_low"
    return pd.DataFrame(rows, columns=[*columns.split(), "difference_high", "p", "p_holm"])
