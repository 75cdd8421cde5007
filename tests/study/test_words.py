"""Sentences that figures and prose share."""

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis import pairs
from study.report.figures import words


def table(p, reason="too few clusters"):
    """Pairs of networks a, b, ... in order, with their adjusted p; None where a pair is not tested."""
    n = next(n for n in range(2, 20) if n * (n - 1) // 2 >= len(p))
    names = [("abcdefgh"[i], "abcdefgh"[j]) for i, j in pairs.all_pairs("abcdefgh"[:n])]
    frame = pd.DataFrame(names[: len(p)], columns=["first", "second"])
    frame["p_holm"] = [np.nan if value is None else value for value in p]
    frame["stars"] = [pairs.stars(value) for value in frame["p_holm"]]
    frame["reason"] = [reason if value is None else "" for value in p]
    return frame


@pytest.mark.parametrize(
    ("p", "sentence"),
    [
        ([], ""),
        ([0.01], "a differs from b"),
        ([0.3], "no difference is found in the one pair"),
        ([0.3, 0.2, 0.1], "no difference is found in any of the 3 pairs"),
        ([0.01, 0.02, 0.03], "all 3 pairs differ"),
        (
            [0.01, 0.02, 0.03, 0.5, 0.5, 0.5],
            "a differs from the three others; no difference is found in the other three",
        ),
        ([0.01, 0.02, 0.3, 0.5, 0.5, 0.5], "a differs from b and c; no difference is found in the other four"),
        (
            [0.5, 0.01, 0.01, 0.5, 0.01, 0.5],
            "a differs from c and d, d from b; no difference is found in the other three",
        ),
        ([0.01] * 9 + [0.5], "9 of 10 pairs differ; no difference is found in the other one"),
        ([None, None, None], "no pair is tested (too few clusters)"),
        ([0.01, None, None], "a differs from b; two of 3 pairs not tested (too few clusters)"),
    ],
)
def test_which_groups_differ_in_words(p, sentence):
    assert words.differing(table(p)) == sentence
