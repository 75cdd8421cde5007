"""Which networks differ in their human scores? Shares of right answers, clustered by layers and by people.

Answers go together for two reasons: they concern units of the same cluster of layers, or one person gave them. The variance
of a share is that of its clusters of layers, plus that of its clusters of people, minus that of the cells in which both
are the same (Cameron, Gelbach and Miller 2011). The papers compare units, as if both were of no account.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.analysis import pairs
from interpretability.analysis.cluster_tests import COLUMNS, Clusters, cluster_of

TEST = "two-way t (layers, people)"


@dataclass(frozen=True)
class Answers:
    """Answers to units of several networks, one entry an answer; all codes are 0, 1, ...

    network; layer: the cluster of layers, of no two networks the same; person (-1: unknown), who may answer for several
    networks; correct: right (1) or wrong (0)
    """

    names: list[str]  # of the networks
    network: NDArray[np.int64]
    layer: NDArray[np.int64]
    person: NDArray[np.int64]
    correct: NDArray[np.float64]


def answers_of(responses: pd.DataFrame, clusters: Clusters) -> Answers:
    """`Answers` from a table: model, layer, participant, correct, one row an answer of one condition."""
    keys = responses[["model", "layer"]].astype(object)
    pair, distinct = pd.factorize(pd.MultiIndex.from_frame(keys), sort=True)
    layers = pd.DataFrame(list(distinct), columns=["model", "layer"])
    cluster, _ = pd.factorize(pd.MultiIndex.from_arrays([layers["model"], cluster_of(layers, clusters)]), sort=True)
    network, names = pd.factorize(layers["model"], sort=True)
    who = responses["participant"].astype(object).where(lambda names: names.notna() & (names != ""))
    person, _ = pd.factorize(who.astype(str).where(who.notna()), sort=True)
    correct = responses["correct"].to_numpy(np.float64)
    return Answers([str(name) for name in names], network[pair], cluster[pair], person, correct)


@dataclass(frozen=True)
class _Share:
    """The share of one network: numbers of clusters, and the variance due to layers, people and cells of both.

    people: sum of the errors of each person, over all people of all networks
    """

    mean: float
    n_layers: int
    n_people: int
    known: bool  # all people
    layers: float
    cells: float
    people: NDArray[np.float64]

    @property
    def variance(self) -> float:
        return _variance(self.layers, float((self.people**2).sum()), self.cells)

    @property
    def df(self) -> int:
        return min(self.n_layers, self.n_people) - 1

    @property
    def lacks(self) -> str:
        """Why the network is not tested."""
        if not self.known:
            return pairs.NO_PEOPLE
        few = [what for what, n in (("clusters", self.n_layers), ("people", self.n_people)) if n < pairs.FEWEST_MEMBERS]
        return pairs.TOO_FEW.format(what=" and ".join(few)) if few else ""


def _variance(layers: float, people: float, cells: float) -> float:
    """Of a share: never below either way of clustering alone."""
    return max(layers + people - cells, layers, people)


def _shares(answers: Answers) -> list[_Share]:
    n_people = int(answers.person.max(initial=-1)) + 1
    shares = []
    for number in range(len(answers.names)):
        own = answers.network == number
        layer, person, correct = answers.layer[own], answers.person[own], answers.correct[own]
        mean = float(correct.mean())
        error, known = (correct - mean) / len(correct), bool((person >= 0).all())
        _, cell = np.unique(layer * (n_people + 1) + person, return_inverse=True)
        people = np.bincount(person[person >= 0], weights=error[person >= 0], minlength=n_people).astype(np.float64)
        squares = [float((np.bincount(codes, weights=error) ** 2).sum()) for codes in (layer, cell)]
        n_layers, n_own = len(np.unique(layer)), len(np.unique(person[person >= 0]))
        shares.append(_Share(mean, n_layers, n_own, known, squares[0], squares[1], people))
    return shares


def network_tests(answers: Answers) -> pd.DataFrame:
    """All pairs of networks, sorted by name: COLUMNS of `cluster_tests`.

    n_first, n_second   clusters of layers;  people_first, people_second: people
    mean_first, ...     shares of right answers; difference: first minus second
    statistic, df, p    t of the difference over its standard error. Its variance is that of both shares, less what people who
                        answered for both networks have in common; df is Welch's, from the smaller of clusters and people,
                        less one, of each network
    p_holm, stars       adjusted over the pairs that are tested
    reason              why a pair is not: too few clusters or people in either network, people unknown, all answers alike
    """
    shares, rows = _shares(answers), []
    for i, j in pairs.all_pairs(answers.names):
        first, second = shares[i], shares[j]
        difference = first.mean - second.mean
        statistic = df = p = float("nan")
        reason = first.lacks or second.lacks
        if not reason:
            people = float(((first.people - second.people) ** 2).sum())
            variance = _variance(first.layers + second.layers, people, first.cells + second.cells)
            own = first.variance, second.variance
            if variance > 0 and sum(own) > 0:
                statistic = difference / float(np.sqrt(variance))
                df = sum(own) ** 2 / (own[0] ** 2 / first.df + own[1] ** 2 / second.df)
                p = float(2 * stats.t.sf(abs(statistic), df))
            else:
                reason = pairs.ALIKE
        counts = (first.n_layers, second.n_layers, first.n_people, second.n_people)
        names = (answers.names[i], answers.names[j], TEST)
        rows.append((*names, *counts, first.mean, second.mean, difference, statistic, df, p, reason))
    unmarked = [name for name in COLUMNS if name not in ("p_holm", "stars")]
    return pairs.marked(pd.DataFrame(rows, columns=unmarked), COLUMNS) if rows else pairs.empty(COLUMNS)
