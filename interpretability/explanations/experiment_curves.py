"""Relative errors of the simulations as tables: a row a point of a curve (Oikarinen et al. 2025, Eq. 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations.experiment_kernels import ESTIMATORS
from interpretability.explanations.experiments import Deviations, Plan, Sampler


def rce(absolute: NDArray[np.float64], rho: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RCE (Eq. 12) and its standard error over units, from mean absolute deviations (..., units).

    The error is that of a ratio of means (delta method): other units from the same population, with the draws as they are.
    """
    size, n = np.abs(rho), len(rho)
    ratio = absolute.sum(axis=-1) / size.sum()
    rest = absolute - ratio[..., None] * size
    spread = np.sqrt((rest**2).sum(axis=-1) * n / max(n - 1, 1))
    return ratio, np.where(n > 1, spread / size.sum(), np.nan)


def curves(found: Deviations, plan: Plan, part: str, *, estimators: Sequence[str] = ("published",)) -> pd.DataFrame:
    """One row for each sampler, aggregation, number of raters, budget and estimator.

    Columns: world, part, method, sampler, gamma, alpha, aggregation, estimator, beta, eta (true error rate, the mean of both
    kinds), eta_assumed, errors_assumed (constant or beta), budget, raters, images, ratings (images times raters), rce, rce_se,
    bias (sum of signed deviations, as a share of the sum of absolute scores), undefined_share, n_units, n_draws. `method` is
    sampler+aggregation, with the estimator where that is not the published one.
    """
    ratio, spread = rce(found.absolute, found.rho)
    bias = found.signed.sum(axis=-1) / np.abs(found.rho).sum()
    undefined = found.undefined.mean(axis=-1)
    everything = not plan.samplers
    sizes = plan.sizes
    samplers: Sequence[Sampler | None] = plan.samplers or (None,)
    named = ("published",) if everything else ESTIMATORS
    rows: list[dict[str, Any]] = []
    for place in np.ndindex(ratio.shape):
        s, a, m, b, e = place
        if named[e] not in estimators or not np.isfinite(ratio[place]):
            continue
        sampler, aggregation, n_raters = samplers[s], plan.aggregations[a], plan.raters[m]
        images = found.n_images if everything else int(sizes[m, b])
        bragg = aggregation.kind == "bragg"
        label = "exact" if plan.errors.never else aggregation.name
        method = f"{sampler.kind if sampler else 'all'}+{label}"
        rows.append(
            {
                "world": found.world,
                "part": part,
                "method": method if named[e] == "published" else f"{method}+{named[e]}",
                "sampler": sampler.kind if sampler else "all",
                "gamma": sampler.gamma if sampler and sampler.kind != "uniform" else np.nan,
                "alpha": sampler.alpha if sampler and sampler.kind == "ag_is" else np.nan,
                "aggregation": label,
                "estimator": named[e],
                "beta": aggregation.beta if aggregation.name == "bragg_uniform" else np.nan,
                "eta": plan.errors.mean,
                "eta_assumed": aggregation.eta if bragg and not aggregation.errors else np.nan,
                "errors_assumed": ("beta" if aggregation.errors else "constant") if bragg else "",
                "budget": images * n_raters if everything else plan.budgets[b],
                "raters": n_raters,
                "images": images,
                "ratings": images * n_raters,
                "rce": ratio[place],
                "rce_se": spread[place],
                "bias": bias[place],
                "undefined_share": undefined[place],
                "n_units": len(found.rho),
                "n_draws": plan.n_draws,
            }
        )
    return pd.DataFrame(rows)


def single(
    found: Deviations, part: str, method: str, *, images: int, raters: int, n_draws: int, eta: float = np.nan
) -> pd.DataFrame:
    """The same for estimates from elsewhere (`experiments.of_estimates`): one row."""
    (ratio,), (spread,) = (part_of.reshape(-1) for part_of in rce(found.absolute, found.rho))
    row = {
        "world": found.world,
        "part": part,
        "method": method,
        "sampler": "",
        "gamma": np.nan,
        "alpha": np.nan,
        "aggregation": "",
        "estimator": method,
        "beta": np.nan,
        "eta": eta,
        "eta_assumed": np.nan,
        "errors_assumed": "",
        "budget": images * raters,
        "raters": raters,
        "images": images,
        "ratings": images * raters,
        "rce": ratio,
        "rce_se": spread,
        "bias": found.signed.sum() / np.abs(found.rho).sum(),
        "undefined_share": found.undefined.mean(),
        "n_units": len(found.rho),
        "n_draws": n_draws,
    }
    return pd.DataFrame([row])
