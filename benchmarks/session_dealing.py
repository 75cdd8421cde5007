"""How many people must start until every unit has its answers, and how even the answers are on the way: simulated.

    python -m benchmarks.session_dealing [--seeds 40]

84 units with 30 answers each are 63 sessions of 40, as in IMI. People come in a burst (every 3 s) or slowly (one a minute); 20
or 30 % leave without a word and are timed out after an hour, a fifth of those who finish is refused. Rules: the study's, a list
of sessions first and then sessions planned by need, and planning alone. A row a rule, way of coming and drop-out, over
recruitments of as many seeds:

started, started_worst  people who got a session until all answers were there: mean, most
least, ratio            sessions / share of those who start whose session counts; mean number started / least
spread_100, spread_100_worst  most minus fewest answers of a unit from the first 100 who came: mean, largest
turned_away_100         of these 100, people who came while all that was needed was reserved: mean
spread_end, surplus     largest difference between units at the end; answers beyond those that were needed, of all recruitments
repeated                whether every recruitment, done again, dealt the same sessions
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial

import numpy as np

from benchmarks.harness import report
from interpretability.design.dealing import Dealer
from interpretability.design.dealing_simulated import Recruited, Recruitment, recruit
from interpretability.randomness import generator
from interpretability.synthetic.observers import assign

UNITS, ANSWERS, TRIALS, TASKS = 84, 30, 40, 20
RULES = {"list, then need": True, "need": False}
WAYS = {"burst": 3.0, "slow": 60.0}
OF = {f"u{unit:02d}t{task:02d}": unit for unit in range(UNITS) for task in range(TASKS)}


def new_dealer(seed: int, *, with_list: bool) -> Dealer[int]:
    design = assign(UNITS, ANSWERS, TRIALS, TASKS, generator(seed, "sessions"))
    names = [f"u{unit:02d}t{task:02d}" for unit, task in zip(design["unit"], design["task"], strict=True)]
    listed = [
        (f"s{person:05d}", [names[row] for row in rows]) for person, rows in design.groupby("person").indices.items()
    ]
    return Dealer(OF, ANSWERS, TRIALS, listed if with_list else [], seed, "simulated")


def spread(found: Recruited) -> int:
    """Most minus fewest answers of a unit."""
    counts = unit_answers(found)
    return max(counts.values()) - min(counts[unit] for unit in range(UNITS))


def unit_answers(found: Recruited) -> Counter[int]:
    counts: Counter[int] = Counter()
    for item, answers in found.answers().items():
        counts[OF[item]] += answers
    return counts


def row(rule: str, way: str, drop_out: float, seeds: int) -> dict[str, object]:
    how = Recruitment(every=WAYS[way], drop_out=drop_out)
    whole, part, same = [], [], []
    for seed in range(seeds):
        dealer = partial(new_dealer, seed, with_list=RULES[rule])
        whole.append(recruit(dealer(), how, seed))
        part.append(recruit(dealer(), how, seed, arrivals=100))
        same.append(recruit(dealer(), how, seed).sessions == whole[-1].sessions)
    started = np.array([len(found.sessions) for found in whole])
    least = UNITS * ANSWERS / TRIALS / how.counting
    spreads = [spread(found) for found in part]
    return {
        "rule": rule,
        "arrivals": way,
        "drop_out": drop_out,
        "recruitments": seeds,
        "started": started.mean(),
        "started_worst": started.max(),
        "least": least,
        "ratio": started.mean() / least,
        "spread_100": np.mean(spreads),
        "spread_100_worst": max(spreads),
        "turned_away_100": np.mean([found.n_turned_away for found in part]),
        "spread_end": max(spread(found) for found in whole),
        "surplus": sum(max(n - ANSWERS, 0) for found in whole for n in unit_answers(found).values()),
        "repeated": all(same),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    rows = [row(rule, way, drop_out, seeds) for rule in RULES for way in WAYS for drop_out in (0.2, 0.3)]
    title = f"{UNITS} units with {ANSWERS} answers each in sessions of {TRIALS}; simulated people"
    report("session_dealing", title, rows)


if __name__ == "__main__":
    main()
