"""Can people be predicted? Groups of units chosen by their scores before anybody answers (MIS paper, 4.1.2, figure 2C).

The easiest and the hardest units of a network that nobody has answered yet, and a random group beside them, are turned into
questions; later, answers to them say whether people find the groups as hard as the scores said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.analysis import group_tests, machine_beside_human
from interpretability.analysis.pairs import beside_papers
from interpretability.analysis.ranking import shrink
from interpretability.people.human_scores import human_scores
from interpretability.randomness import combine, generator, key64, permutations
from interpretability.schema import GROUPS, KEY, UNIT

EXPECTED_COLUMNS = ["group", "n_units", "chosen_by", "shrunken", "expected", "expected_se"]
GROUP_COLUMNS = [
    *("model", "condition", "group", "n_units", "n_responses", "n_participants", "expected", "his_mean", "low", "high"),
    *("these_low", "these_high"),
]
TEST_COLUMNS = [
    *("model", "condition", "first", "second", "difference", "low", "high"),
    *("paper_statistic", "paper_p", "paper_p_holm", "paper_effect"),
]


def without_repeats(units: pd.DataFrame, clusters: Sequence[str], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which units of one network to choose among, so that no two repeat each other: a mask.

    `units`: layer and unit; `clusters`: the layer that begins the cluster of each one's layer, as `layer_clusters` says. Units of
    one number in one cluster show the same pictures, as a convolution's and those of the norm behind it. One of them stays, drawn
    by the `keys` of the units, so each layer of a cluster keeps its share.

    Departure: the MIS paper takes units as they come, and its text says nothing of repeats.
    """
    table = pd.DataFrame(
        {"cluster": clusters, "unit": units["unit"].to_numpy(), "key": combine(keys, key64("repeats"))}
    )
    first = table.sort_values("key", kind="stable").drop_duplicates(["cluster", "unit"]).index
    kept = np.zeros(len(table), dtype=bool)
    kept[first] = True
    return kept


def choose(units: pd.DataFrame, k: int, n_random: int, seed: int, by: str = "mis") -> pd.DataFrame:
    """Units of the groups easiest, random and hardest of one network, with group and rank (1-based), group by group.

    `units`: key and the score `by`, one row a candidate. The random group is drawn first and from all candidates, so it
    stands for the network, as the units of IMI did; then come the k highest and the k lowest of the others. No unit is
    in two groups. Equal scores are ordered by key. Raises ValueError for fewer than 2k + n_random candidates.
    """
    if k < 1 or n_random < 0 or len(units) < 2 * k + n_random:
        raise ValueError(f"{len(units)} candidates for groups of {k}, {n_random} and {k} units")
    units = units.sort_values(KEY, kind="stable", ignore_index=True)
    model = str(units["model"].iloc[0])
    random = generator(seed, "psychophysics", "random group", model).permutation(len(units))[:n_random]
    rest = np.setdiff1d(np.arange(len(units)), random)
    order = rest[np.argsort(-units[by].to_numpy(np.float64)[rest], kind="stable")]
    groups = {"easiest": order[:k], "random": random, "hardest": order[::-1][:k]}
    parts = [units.iloc[rows].assign(group=name, rank=np.arange(1, len(rows) + 1)) for name, rows in groups.items()]
    return pd.concat(parts, ignore_index=True)


def expected(units: pd.DataFrame, k: int, n_random: int, seed: int, *, held_out: bool = False) -> pd.DataFrame:
    """Scores to expect of the groups: EXPECTED_COLUMNS. What chose a unit flatters it: extremes are partly luck.

    `units`: key and the columns of `ranking.half_scores`.
    chosen_by    mean of the score that chose the group: of all tasks, or of the even tasks where `held_out`
    shrunken     mean posterior score, see `ranking.shrink`
    expected     scored on tasks that did not choose: where `held_out` on the odd tasks, which people are then asked;
                 otherwise the mean over the two halves of chosen on one, scored on the other (a little too careful, because
                 half of the tasks choose less well than all)
    expected_se  its standard error, for these units and other tasks
    """
    score = "even" if held_out else "mis"
    halves = [("even", "odd")] if held_out else [("even", "odd"), ("odd", "even")]
    picked = {by: choose(units, k, n_random, seed, by) for by in {score, *(by for by, _ in halves)}}
    chosen = picked[score]
    posterior, _ = shrink(units[score].to_numpy(np.float64), units[f"{score}_se"].to_numpy(np.float64))
    shrunken = units[KEY].assign(shrunken=posterior).merge(chosen[[*KEY, "group"]], on=KEY)
    rows = []
    for group in (name for name in GROUPS if (chosen["group"] == name).any()):
        of_group = {by: part[part["group"] == group] for by, part in picked.items()}
        means = [of_group[by][scored].mean() for by, scored in halves]
        errors = [np.sqrt((of_group[by][f"{scored}_se"] ** 2).sum()) / len(of_group[by]) for by, scored in halves]
        error = np.sqrt(np.square(errors).sum()) / len(halves)
        prior = shrunken.loc[shrunken["group"] == group, "shrunken"].mean()
        own = of_group[score]
        rows.append((group, len(own), own[score].mean(), prior, np.mean(means), error))
    return pd.DataFrame(rows, columns=EXPECTED_COLUMNS)


def expected_elsewhere(chosen: pd.DataFrame, scores: pd.DataFrame, *, held_out: bool = False) -> pd.DataFrame:
    """Scores to expect of groups that natural tasks chose, under another condition: EXPECTED_COLUMNS.

    `chosen`: as `choose` returns it, with the score that chose; `scores`: the columns of `ranking.half_scores` of the same units
    under that condition, of those that have its tasks. `expected` is their mean there (of the odd tasks where `held_out`): other
    queries than chose, though the explanations may be the same. There is no posterior for it, so `shrunken` is NaN.
    """
    by, scored = ("even", "odd") if held_out else ("mis", "mis")
    rows = []
    for group in (name for name in GROUPS if (chosen["group"] == name).any()):
        own = chosen.loc[chosen["group"] == group, [*UNIT, by]].rename(columns={by: "chosen_by"})
        both = own.merge(scores[[*UNIT, scored, f"{scored}_se"]], on=UNIT)
        error = np.sqrt((both[f"{scored}_se"] ** 2).sum()) / len(both) if len(both) else np.nan
        rows.append((group, len(both), both["chosen_by"].mean(), np.nan, both[scored].mean(), error))
    return pd.DataFrame(rows, columns=EXPECTED_COLUMNS)


@dataclass(frozen=True)
class Presentation:
    """How the tasks of some units are shown; unit u, task t.

    most, least  (units, tasks, K): explanations in their places on the screen. The one of the most extreme group comes
                 first, as in IMI, the others in random order
    top, bottom  (units, tasks): the two queries
    right_on_top (units, tasks): where the right one is; on top in half of the tasks of a unit (one more or less of odd ones)
    """

    most: NDArray[np.int32]
    least: NDArray[np.int32]
    top: NDArray[np.int32]
    bottom: NDArray[np.int32]
    right_on_top: NDArray[np.bool_]


def present(tasks: NDArray[np.int32], keys: NDArray[np.uint64], numbers: NDArray[np.integer]) -> Presentation:
    """Keyed random places for the images of tasks (units, N, 2(K + 1)), whose order is that of `tasks.assemble`.

    `numbers` (N,), or (units, N) where units show other tasks, are the tasks' own: where an explanation lies hangs on unit and
    task alone, not on what else is shown.
    """
    n_units, n_tasks, width = tasks.shape
    k = (width - 2) // 2
    own = combine(keys, key64("presentation"))
    sides = []
    for side, name in enumerate(("most", "least")):
        task_keys = combine(combine(own, key64(name))[:, None], np.asarray(numbers).astype(np.uint64))
        order = np.zeros((n_units, n_tasks, k), dtype=np.int64)
        order[..., 1:] = 1 + permutations(task_keys, k - 1)
        sides.append(np.take_along_axis(tasks[..., side * k : (side + 1) * k], order, axis=2))
    turn = combine(own, key64("queries"))
    odd = (combine(own, key64("odd task")) & np.uint64(1)).astype(np.int64)
    right_on_top = (permutations(turn, n_tasks) + odd[:, None]) % 2 == 0
    right, wrong = tasks[..., -2], tasks[..., -1]
    return Presentation(
        sides[0], sides[1], np.where(right_on_top, right, wrong), np.where(right_on_top, wrong, right), right_on_top
    )


def measured(
    responses: pd.DataFrame, expectation: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float
) -> pd.DataFrame:
    """What people found of every group: GROUP_COLUMNS, networks and conditions sorted, groups easiest to hardest.

    `responses`: key, group, participant, correct; `expectation`: model, condition, group, expected.
    his_mean is the mean of the units' shares of right answers; low and high its interval for other units and other
    people, these_low and these_high for other units answered by these people (see `machine_beside_human.his_summary`).
    """
    parts = []
    for condition, answers in responses.groupby("condition", sort=True, observed=True):
        grouped = answers.assign(condition=answers["group"])
        summary = machine_beside_human.his_summary(human_scores(grouped), seed, n_bootstrap, confidence, grouped)
        counts = grouped.groupby(["model", "condition"], observed=True)["participant"]
        counts = counts.agg(n_responses="size", n_participants="nunique").reset_index()
        table = summary.merge(counts, on=["model", "condition"]).rename(columns={"condition": "group"})
        parts.append(table.assign(condition=str(condition)))
    table = pd.concat(parts, ignore_index=True)
    keys = ["model", "condition", "group"]
    table = table.merge(expectation[[*keys, "expected"]], on=keys, how="left")
    positions = table["group"].map({name: position for position, name in enumerate(GROUPS)})
    return table.iloc[np.lexsort((positions, table["condition"], table["model"]))].reset_index(drop=True)[GROUP_COLUMNS]


def compare_groups(responses: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Every two groups of a network compared under each condition: TEST_COLUMNS.

    difference    of the shares of right answers, first minus second; low and high for other units and other people, of each
                  comparison alone: not adjusted for their number
    paper_p, ...  Conover's test on the units' scores, Holm over the pairs of a network and condition, as IMI compares
                  networks; see `group_tests.conover_of`. It takes units for independent draws, and gives no stars
    """
    parts = []
    for (model, condition), answers in responses.groupby(["model", "condition"], sort=True, observed=True):
        units = human_scores(answers.assign(condition=answers["group"]))
        papers = group_tests.conover(units["his"].to_numpy(), units["condition"].to_numpy(dtype=object))
        pairs = beside_papers(papers[["first", "second"]], papers)
        names = zip(pairs["first"], pairs["second"], strict=True)
        ends = [difference(answers, first, second, confidence) for first, second in names]
        pairs[["difference", "low", "high"]] = np.array(ends, dtype=np.float64).reshape(-1, 3)
        parts.append(pairs.assign(model=str(model), condition=str(condition)))
    return pd.concat(parts, ignore_index=True)[TEST_COLUMNS] if parts else pd.DataFrame(columns=TEST_COLUMNS)


def difference(responses: pd.DataFrame, first: str, second: str, confidence: float) -> tuple[float, float, float]:
    """Difference of two groups' shares of right answers, and its interval for other units and other people.

    The answers are clustered by unit and by person, as in `two_way`; a person who answers both groups
    alike moves both shares, which the clusters of people take out of the difference. Quantile of t with one degree of
    freedom less than there are units in the smaller group, or people. NaN ends below two of either, and where all answers
    of each group are alike.
    """
    sides = [responses[responses["group"] == name] for name in (first, second)]
    shares = [side["correct"].mean() for side in sides]
    influence = pd.concat(
        side[[*UNIT, "participant"]].assign(part=sign * (side["correct"].astype(np.float64) - share) / len(side))
        for side, share, sign in zip(sides, shares, (1.0, -1.0), strict=True)
    )
    by_unit, by_person = (
        float((influence.groupby(columns, observed=True)["part"].sum() ** 2).sum())
        for columns in (UNIT, ["participant"])
    )
    variance = max(by_unit + by_person - float((influence["part"] ** 2).sum()), by_unit, by_person)
    fewest = min(*(side[UNIT].drop_duplicates().shape[0] for side in sides), influence["participant"].nunique())
    change = float(shares[0] - shares[1])
    if fewest < 2 or variance == 0:
        return change, float("nan"), float("nan")
    reach = float(stats.t.ppf((1 + confidence) / 2, fewest - 1) * np.sqrt(variance))
    return change, change - reach, change + reach
