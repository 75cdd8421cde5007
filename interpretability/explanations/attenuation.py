"""What errors of raters leave of a score, however many images are rated.

If ratings depend on the activations through the truth alone, a correlation with labels L tends to the true one times
corr(truth, L). So the best label is the one that correlates most with the truth: the posterior mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from interpretability import arguments
from interpretability.explanations.aggregation import error_rates


def attenuation(
    labels: ArrayLike,
    prevalence: float,
    *,
    eta: float | None = None,
    false_yes: float | None = None,
    false_no: float | None = None,
) -> float:
    """Correlation, in [-1, 1], of the truth with labels (n + 1,): that of an image of which 0, 1, ..., n of n raters say yes.

    prevalence   of the concept, in (0, 1); eta, false_yes, false_no as for `aggregation.bragg`, raters err independently
    Exact: the numbers of yes are enumerated. NaN where all labels are the same.

    >>> import numpy as np
    >>> from interpretability.explanations.aggregation import average, bragg
    >>> k = np.arange(4)
    >>> round(attenuation(average(k, 3), 0.001, eta=0.23), 3), round(attenuation(bragg(k, 3, 0.001), 0.001), 3)
    (0.07, 0.13)
    """
    values = arguments.array(labels, "labels", ("numbers of yes",)).astype(np.float64)
    arguments.finite(values, "labels")
    share = arguments.number(prevalence, "prevalence", above=0, below=1)
    wrong_yes, wrong_no = error_rates(eta, false_yes, false_no)
    present, absent = _chances(len(values) - 1, 1 - float(wrong_no)), _chances(len(values) - 1, float(wrong_yes))
    both = share * present + (1 - share) * absent
    mean = values @ both
    variance = (values - mean) ** 2 @ both
    covariance = share * (values @ present) - share * mean
    spread = share * (1 - share) * variance
    return float(covariance / np.sqrt(spread)) if np.ptp(values) > 0 else float("nan")


def _chances(n: int, yes: float) -> NDArray[np.float64]:
    """Probabilities of 0 to n yes among n ratings."""
    return np.asarray(stats.binom.pmf(np.arange(n + 1), n, yes), np.float64)
