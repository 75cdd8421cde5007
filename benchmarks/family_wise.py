"""How often do the tests between groups tell equal groups apart, and how often do they find one that differs?

    python -m benchmarks.family_wise                   # about 7 minutes of one core
    python -m benchmarks.family_wise --studies 200     # a first look

Every study is drawn with equal groups and tested by the functions that the pipeline calls. An error is a study in which any
pair of groups has a p, adjusted after Holm, below .05; power is the share of the pairs with the one group that was shifted
which are found. Three questions, each with the nulls that its test is for:

networks by HIS   two-way t (`answer_tests`). 84 units a network, 30 answers a unit, 40 answers a person. Units of a layer
                  alike: intraclass correlation .2 of what people see; people who differ in slope and lapse; networks of one
                  family with the same units
networks by MIS   Conover of cluster means (`cluster_tests`). Units alike within layers, layers of equal and of unequal size,
                  norms that repeat a convolution (correlation .9 of the same channel)
layer types       paired t of blocks (`block_tests`). Networks that differ, spreads of types that differ, families whose
                  networks share what a type is like

Power stands in the rows that have an `effect`: by how much one group is higher. `meant` is no where a test is not meant for a
null, which stands there to show what it costs: the papers' Conover where units depend on each other, layers as clusters
where norms repeat them, networks as blocks where families share effects, means of neighbouring clusters that resemble each
other (the tables of a study show that correlation as lag1).

Expect errors of at most .06 wherever `meant` is yes, and none where groups have fewer than four clusters or blocks, as
those are not tested (`tested` is the share of pairs that were).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from time import perf_counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from benchmarks.harness import report
from interpretability.analysis import answer_tests, block_tests, cluster_tests, group_tests
from interpretability.design.drawn_studies import answer_probabilities, assign_many
from interpretability.randomness import generator
from interpretability.synthetic.observers import Population, draw_people, task_probabilities

N_UNITS, N_ANSWERS, N_TRIALS = 84, 30, 40
LEVEL, UNIT_SPREAD, TASK_SPREAD = 0.37, 0.15, 0.15  # of margins, as in `drawn_studies`
SLOPE, SLOPE_SPREAD, LAPSE = 6.25, 0.3, 0.05
FAMILY = 3  # networks of one family
CONTRAST_STUDIES = 500  # of a test that is not meant for a setting
COLUMNS = [
    *("groups", "test", "setting", "meant", "tested", "error", "error_se", "n_studies"),
    *("effect", "effect_in", "power", "power_se", "n_power"),
]
Draw = np.random.Generator
# adjusted p of all pairs, NaN where not tested, and which of them have the group that is shifted
Tested = tuple[NDArray[np.float64], NDArray[np.bool_]]
Tests = dict[str, Callable[[], Tested]]  # by name, of one study
Study = Callable[[Draw, float], Tests]  # with its first group higher by so much


@dataclass(frozen=True)
class Setting:
    """One null: its groups, its name in the table, its study, the tests that are meant for it; and where power is asked for,
    by how much one group is higher and in what that is counted.
    """

    groups: str
    name: str
    study: Study
    meant: frozenset[str]
    effect: float = 0.0
    effect_in: str = ""


def of_pairs(table: pd.DataFrame, first: str) -> Tested:
    """Adjusted p of all pairs, and which of them have the group that is shifted."""
    return table["p_holm"].to_numpy(np.float64), ((table["first"] == first) | (table["second"] == first)).to_numpy()


def names(n: int) -> list[str]:
    return [f"{number:02d}" for number in range(n)]


def papers_test(samples: dict[str, NDArray[np.float64]]) -> Tested:
    return of_pairs(group_tests.conover_of(group_tests.joint_ranks(samples), samples), names(1)[0])


# --------------------------------------------------------------------------- networks by HIS


@dataclass(frozen=True)
class Experiment:
    """Networks that people answer about. alike: correlation of units of a layer; differ: people do; matched: networks of a
    family have the same units.
    """

    n_networks: int = 9
    n_layers: int = 21
    alike: float = 0.0
    differ: bool = False
    matched: bool = False

    def __call__(self, draw: Draw, effect: float) -> Tests:
        answers, his = self.answers(draw, margin_for(effect, self.population))
        return {
            answer_tests.TEST: lambda: of_pairs(answer_tests.network_tests(answers), answers.names[0]),
            PAPERS: lambda: papers_test(dict(zip(answers.names, his, strict=True))),
        }

    @property
    def population(self) -> Population:
        return Population(SLOPE, SLOPE_SPREAD if self.differ else 0.0, LAPSE)

    def answers(self, draw: Draw, shift: float = 0.0) -> tuple[answer_tests.Answers, NDArray[np.float64]]:
        """Answers, and the share of right ones of each unit (networks, units); margins of the first network are shifted."""
        n_drawn = self.n_networks // FAMILY if self.matched else self.n_networks
        layer = np.arange(N_UNITS) * self.n_layers // N_UNITS
        unit = np.sqrt(1 - self.alike) * draw.standard_normal((n_drawn, N_UNITS))
        unit += np.sqrt(self.alike) * draw.standard_normal((n_drawn, self.n_layers))[:, layer]
        seen = LEVEL + UNIT_SPREAD * unit[..., None] + TASK_SPREAD * draw.standard_normal((n_drawn, N_UNITS, N_ANSWERS))
        if self.matched:
            seen = np.repeat(seen, FAMILY, axis=0)
        seen[0] += shift
        person = assign_many(self.n_networks, N_UNITS, N_ANSWERS, N_TRIALS, draw)
        n_people = int(person.max()) + 1
        shape = self.n_networks, n_people
        slopes, lapses = (
            part.reshape(shape) for part in draw_people(self.n_networks * n_people, self.population, draw)
        )
        if not self.differ:
            lapses = np.full(shape, LAPSE)
        right = answer_probabilities(seen, person, slopes, lapses, N_ANSWERS)
        correct = draw.random(person.shape) < right
        network = np.broadcast_to(np.arange(self.n_networks)[:, None, None], person.shape)
        answers = answer_tests.Answers(
            names(self.n_networks),
            network.ravel(),
            (network * self.n_layers + layer[:, None]).ravel(),
            (network * n_people + person).ravel(),
            correct.ravel().astype(np.float64),
        )
        return answers, correct.mean(axis=2)


@cache
def margin_for(effect: float, population: Population) -> float:
    """By how much the mean margin of a network must be higher for its expected HIS to be so."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    margins = LEVEL + np.hypot(UNIT_SPREAD, TASK_SPREAD) * nodes

    def his(shift: float) -> float:
        return float(np.average(task_probabilities((margins + shift)[None], population)[0], weights=weights))

    return brentq(lambda shift: his(shift) - his(0.0) - effect, 0.0, 1.0) if effect else 0.0


# --------------------------------------------------------------------------- networks by MIS


@dataclass(frozen=True)
class Scores:
    """Networks whose units have scores. sizes: least and most units of a layer; alike: correlation of units of a layer;
    copies: every second layer repeats the one before it; next: correlation of the means of neighbouring layers.
    """

    n_networks: int = 9
    n_layers: int = 21
    sizes: tuple[int, int] = (4, 4)
    alike: float = 0.0
    copies: float = 0.0
    next: float = 0.0

    def __call__(self, draw: Draw, effect: float) -> Tests:
        parts, samples = [], {}
        for number, name in enumerate(names(self.n_networks)):
            layer, value = self.units(draw)
            value += effect * (number == 0)
            cluster = layer // 2 if self.copies else layer
            samples[name] = value
            parts.append([_means(name, codes, value) for codes in (cluster, layer)])
        clusters, layers = (pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True))

        def test(means: pd.DataFrame) -> Tested:
            return of_pairs(cluster_tests.network_tests(means), names(1)[0])

        tests: Tests = {cluster_tests.TEST: partial(test, clusters)}
        if self.copies:
            tests[LAYERWISE] = partial(test, layers)
        return tests | {PAPERS: lambda: papers_test(samples)}

    def units(self, draw: Draw) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Layer and score of each unit of one network, all of variance 1."""
        n_drawn = self.n_layers // 2 if self.copies else self.n_layers
        size = np.exp(draw.uniform(np.log(self.sizes[0]), np.log(self.sizes[1]), n_drawn)).round().astype(np.int64)
        mean = draw.standard_normal(n_drawn)
        for i in range(1, n_drawn if self.next else 0):
            mean[i] = self.next * mean[i - 1] + np.sqrt(1 - self.next**2) * mean[i]
        layer = np.repeat(np.arange(n_drawn), size)
        value = np.sqrt(self.alike) * mean[layer] + np.sqrt(1 - self.alike) * draw.standard_normal(len(layer))
        if not self.copies:
            return layer, value
        copy = self.copies * value + np.sqrt(1 - self.copies**2) * draw.standard_normal(len(value))
        return np.concatenate([2 * layer, 2 * layer + 1]), np.concatenate([value, copy])


def _means(name: str, codes: NDArray[np.int64], value: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame({"model": name, "mean": np.bincount(codes, weights=value) / np.bincount(codes)})


# --------------------------------------------------------------------------- layer types


@dataclass(frozen=True)
class Types:
    """Means of layer types in networks. spreads: of types within networks; shared: the part of their variance that networks of
    one of the families have in common.
    """

    n_networks: int = 12
    spreads: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    n_families: int = 0
    shared: float = 0.0

    def __call__(self, draw: Draw, effect: float) -> Tests:
        n_types = len(self.spreads)
        value = draw.standard_normal((self.n_networks, n_types))
        family = np.arange(self.n_networks) * max(self.n_families, 1) // self.n_networks
        if self.n_families:
            common = draw.standard_normal((self.n_families, n_types))[family]
            value = np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * value
        value = value * self.spreads + draw.standard_normal((self.n_networks, 1))
        value[:, 0] += effect
        kinds, models = names(n_types), names(self.n_networks)
        means = pd.DataFrame(
            {"model": np.repeat(models, n_types), "layer_type": np.tile(kinds, self.n_networks), "mis": value.ravel()}
        )
        families = {name: f"family {number}" for name, number in zip(models, family, strict=True)}

        def test(families: dict[str, str]) -> Tested:
            return of_pairs(block_tests.layer_type_tests(means, "mis", families), kinds[0])

        tests: Tests = {block_tests.TEST: partial(test, families if self.n_families else {})}
        if self.n_families:
            tests[ALONE] = partial(test, {})
        return tests | {PAPERS: lambda: papers_test(dict(zip(kinds, value.T, strict=True)))}


# --------------------------------------------------------------------------- all settings

PAPERS, ALONE, LAYERWISE = "Conover, as in the papers", "paired t, networks as blocks", "Conover of layer means"
HIS, MIS, TYPES = "networks by HIS", "networks by MIS", "layer types"
OURS = {HIS: answer_tests.TEST, MIS: cluster_tests.TEST, TYPES: block_tests.TEST}


def setting(
    groups: str,
    name: str,
    study: Study,
    *,
    effect: float = 0.0,
    effect_in: str = "",
    ours: bool = True,
    papers: bool = False,
) -> Setting:
    """A null that our test of these groups is meant for, and the papers', or not."""
    meant = {OURS[groups]: ours, PAPERS: papers}
    return Setting(
        groups, name, study, frozenset(test for test, is_meant in meant.items() if is_meant), effect, effect_in
    )


BOTH = Experiment(alike=0.2, differ=True)
LAYERS = Scores(alike=0.2)
UNEQUAL = Scores(4, 28, (16, 192), 0.4)
FEW = Scores(4, 4, (16, 192), 0.4)
MIXED = (1.0, 1.0, 0.3, 0.3, 2.0)
SETTINGS = (
    setting(HIS, "independent units, equal people", Experiment(), papers=True),
    setting(HIS, "networks of one family share their units", Experiment(matched=True), papers=True),
    setting(HIS, "people differ", Experiment(differ=True), effect=0.045, effect_in="HIS of one network"),
    setting(HIS, "units of a layer alike, correlation .2", Experiment(alike=0.2)),
    setting(HIS, "layers alike and people differ", BOTH),
    setting(
        HIS,
        "layers alike and people differ, 4 networks",
        replace(BOTH, n_networks=4),
        effect=0.047,
        effect_in="HIS of one network",
    ),
    *(
        setting(
            HIS, f"layers alike and people differ, 4 networks of {n} layers", replace(BOTH, n_networks=4, n_layers=n)
        )
        for n in (8, 4, 3, 2)
    ),
    setting(MIS, "independent units", Scores(), papers=True),
    setting(MIS, "units of a layer alike, correlation .2", LAYERS, effect=0.6, effect_in="sd of units, one network"),
    setting(
        MIS,
        "4 networks, 28 layers of 16 to 192 units, correlation .4",
        UNEQUAL,
        effect=0.6,
        effect_in="sd of units, one network",
    ),
    *(
        setting(MIS, f"4 networks, {n} layers of 16 to 192 units, correlation .4", replace(FEW, n_layers=n))
        for n in (4, 3, 2)
    ),
    setting(MIS, "4 networks, 28 layers, norms repeat convolutions", replace(UNEQUAL, copies=0.9)),
    *(
        setting(
            MIS,
            f"4 networks of 18 layers, neighbours alike, correlation {words}",
            Scores(4, 18, (64, 64), 0.4, next=r),
            ours=False,
        )
        for r, words in ((0.2, ".2"), (0.4, ".4"), (0.6, ".6"))
    ),
    setting(TYPES, "12 networks, 5 types", Types(), effect=1.2, effect_in="sd of types, one type"),
    setting(TYPES, "12 networks, spreads of types 1 : 1 : .3 : .3 : 2", Types(spreads=MIXED)),
    setting(TYPES, "4 families of 3 networks share effects of types", Types(n_families=4, shared=0.6)),
    setting(
        TYPES,
        "8 families of 3 networks share effects of types",
        Types(24, n_families=8, shared=0.6),
        effect=1.2,
        effect_in="sd of types, one type",
    ),
    *(setting(TYPES, f"{n} networks, 3 types", Types(n, spreads=(1.0, 1.0, 1.0))) for n in (4, 3, 2)),
)


def rows_of(each: Setting, n_studies: int) -> list[dict[str, object]]:
    """COLUMNS, a row a test."""
    null = _studies(each, n_studies, 0.0)
    shifted = _studies(each, n_studies // 4, each.effect) if each.effect else {}
    rows = []
    for test, found in null.items():
        wrong = np.array([bool((p < 0.05).any()) for p, _ in found])
        tested = np.concatenate([np.isfinite(p) for p, _ in found])
        row: dict[str, object] = {"groups": each.groups, "test": test, "setting": each.name}
        row |= {"meant": "yes" if test in each.meant else "no", "tested": tested.mean()}
        row |= dict(zip(("error", "error_se", "n_studies"), _share(wrong), strict=True))
        if test in shifted and test in each.meant:
            shares = np.array([(p[one] < 0.05).mean() for p, one in shifted[test]])
            row |= {"effect": each.effect, "effect_in": each.effect_in, "power": shares.mean()}
            row |= {"power_se": shares.std(ddof=1) / np.sqrt(len(shares)), "n_power": len(shares)}
        rows.append(row)
    return rows


def _share(hits: NDArray[np.bool_]) -> tuple[float, float, int]:
    share = float(hits.mean())
    return share, float(np.sqrt(share * (1 - share) / len(hits))), len(hits)


def _studies(each: Setting, n: int, effect: float) -> dict[str, list[Tested]]:
    """What the tests find in studies; tests that are not meant for the setting in the first of them."""
    found: dict[str, list[Tested]] = {}
    for number in range(n):
        tests = each.study(generator(number, "family-wise", each.groups, each.name, str(effect)), effect)
        for name, test in tests.items():
            if number < CONTRAST_STUDIES or name in each.meant:
                found.setdefault(name, []).append(test())
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="studies of each setting")
    args = parser.parse_args(argv)
    rows: list[dict[str, object]] = []
    for each in SETTINGS:
        begin = perf_counter()
        rows += rows_of(each, args.studies)
        print(f"{each.groups}, {each.name}: {perf_counter() - begin:.0f} s", flush=True)
    report("family_wise_error", "Family-wise error and power", pd.DataFrame(rows, columns=COLUMNS))


if __name__ == "__main__":
    main()
