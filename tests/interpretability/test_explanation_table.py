"""The table of all pairs of units and texts."""

import numpy as np
import pytest

from interpretability import InputError, score_texts
from interpretability.explanations.correlation import correlations, paired_scores, top_recall
from interpretability.randomness import generator


def inputs():
    draw = generator(0, "table")
    presence = (draw.random((800, 5)) < [0.05, 0.2, 0.5, 0.3, 0.1]).astype(float)
    presence[:, 3] = 0.3
    activations = draw.standard_normal((800, 3)) + presence[:, :3] * 2
    activations[:, 2] = 7
    return activations, presence, ["a", "b", "c", "d", "e"]


def test_the_table_holds_what_the_parts_give():
    activations, presence, texts = inputs()
    found = score_texts(activations, presence, texts, top=30)
    assert found[["unit", "text"]].to_numpy().tolist() == [[k, text] for k in range(3) for text in texts]
    rho = found["rho"].to_numpy().reshape(3, 5)
    assert np.array_equal(rho[:2], correlations(activations.T[:2], presence.T), equal_nan=True)
    assert np.isnan(rho[2]).all()
    assert np.isnan(rho[:, 3]).all()
    one = paired_scores(activations.T[[1]], presence.T[[4]])
    row = found[(found["unit"] == 1) & (found["text"] == "e")].iloc[0]
    assert (row["se"], row["low"], row["high"]) == (one.se[0], one.low[0], one.high[0])
    assert row["recall"] == pytest.approx(top_recall(activations[:, 1], presence[:, 4], 30))
    assert found["recall"].notna().all()
    assert row["prevalence"] == pytest.approx(presence[:, 4].mean())


def test_a_broad_text_wins_by_recall_and_the_true_one_by_correlation():
    draw = generator(0, "broad")
    true = draw.random(4000) < 0.1
    broad = true | (draw.random(4000) < 0.4)
    found = score_texts(
        (true + 0.3 * draw.standard_normal(4000))[:, None], np.stack([true, broad], axis=1), ["true", "broad"], top=100
    ).set_index("text")
    assert found.loc["broad", "recall"] >= found.loc["true", "recall"] > 0.9
    assert found.loc["true", "low"] > found.loc["broad", "high"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": ["a"]}, "1 names for 5 texts"),
        ({"texts": [1, 2, 3, 4, 5]}, "texts is 1 of type int"),
        ({"presence": inputs()[1] * 2}, "between 0 and 1"),
        ({"presence": inputs()[1][:9]}, "presence has 9"),
        ({"activations": inputs()[0] * np.nan}, "activations holds nan"),
        ({"top": 801}, "at most 800"),
        ({"confidence": 0}, "confidence"),
    ],
)
def test_what_is_refused(change, message):
    given = dict(zip(("activations", "presence", "texts"), inputs(), strict=True)) | change
    with pytest.raises(InputError, match=message):
        score_texts(**given)
