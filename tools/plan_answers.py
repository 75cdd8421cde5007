"""Plan a study with people: how narrow will its intervals be, and how many units does it take?

Whole studies are simulated (networks, units, tasks, people, answers) and evaluated as the pipeline does. Nothing is read,
and nothing is written but the file named by --out. This is a tool, not a stage.

Examples
  python -m tools.plan_answers --units 40,84,200 --responses 10,30,60
  python -m tools.plan_answers --target-width 0.1 --of agreement --responses 30
  python -m tools.plan_answers --power
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from interpretability.design import drawn_studies, precision
from interpretability.errors import InputError
from study.files.tables import write_csv
from study.log import Progress, logger

log = logger("plan")


DEFAULT = drawn_studies.Design()
HEADS = {
    "n_models": "networks",
    "n_units": "units",
    "n_responses": "answers",
    "n_split": "split",
    "n_people": "people",
    "slope_width": "slope +-",
    "agreement": "agreement",
    "agreement_width": "+-",
    "his_width": "mean HIS +-",
    "ceiling": "ceiling",
    "ceiling_width": "ceiling +-",
}
NOTE = """units: of each network; answers: to each unit; split: units that calibrate the slope (5 %, at least 20);
people: participants altogether. Columns with +- are half of the interval's expected width (medians over simulated
studies): of the slope, of the Pearson correlation of MIS and HIS over units, of a network's mean HIS for other units and
people, of the noise ceiling (V4w, or V4 where the answers to a unit are too few for two to one task). Files of --out hold
whole widths."""


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.power:
        n = precision.power_units(args.effect, args.alpha, args.wanted_power)
        print(
            f"{n} units of each of two networks: Mann-Whitney test, two-sided, d = {args.effect:.3g}, alpha = "
            f"{args.alpha:g}, power {args.wanted_power:g}"
        )
        return
    options = (args.seed, args.studies, args.bootstrap, args.confidence)
    rows = []
    if args.target_width is not None:
        for responses in args.responses:

            def seen(row: dict[str, float]) -> None:
                log.info(
                    "%g units, %g answers: width %.3g", row["n_units"], row["n_responses"], row[f"{args.of}_width"]
                )

            start = design(args, args.units[0], responses)
            rows.append(precision.units_for_width(start, args.of, args.target_width, *options, seen))
            log.info(
                "interval of the %s no wider than %g: about %d units of each of %d networks with %g answers each",
                *(precision.QUANTITIES[args.of], args.target_width, rows[-1]["n_units"], args.networks, responses),
            )
    else:
        cases = [design(args, units, responses) for units in args.units for responses in args.responses]
        progress = Progress(log, len(cases), "combinations")
        for case in cases:
            rows.append(precision.expected(case, *options))
            progress.step()
    table = pd.DataFrame(rows)[precision.COLUMNS]
    if args.out is not None:
        write_csv(args.out, table)
    print(f"\n{shown(table)}\n\n{NOTE}")


def shown(table: pd.DataFrame) -> str:
    """The table for people: half widths, short heads."""
    halves = table.assign(**{name: table[name] / 2 for name in table.columns if name.endswith("_width")})
    halves["agreement"] = halves["agreement"].map("{:.2f}".format)
    return halves.rename(columns=HEADS).to_string(index=False, float_format=lambda value: f"{value:.3g}")


def design(args: argparse.Namespace, n_units: int, n_responses: float) -> drawn_studies.Design:
    """What the studies are drawn from, with the options given."""
    return drawn_studies.Design(
        n_models=args.networks,
        n_units=n_units,
        n_responses=n_responses,
        n_tasks=args.tasks,
        n_answered=min(args.answered, args.tasks),
        n_trials=args.trials,
        slope=args.slope,
        lapse=args.lapse,
        agreement=args.agreement,
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.plan_answers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    study = parser.add_argument_group("the study")
    study.add_argument("--units", type=whole_numbers, default=[84], metavar="N,..", help="units of each network (84)")
    study.add_argument("--responses", type=numbers, default=[30.0], metavar="N,..", help="answers to each unit (30)")
    study.add_argument("--networks", type=int, default=DEFAULT.n_models, help="networks (%(default)s)")
    study.add_argument("--tasks", type=int, default=DEFAULT.n_tasks, help="tasks of a unit (%(default)s)")
    study.add_argument(
        "--answered", type=int, default=DEFAULT.n_answered, help="tasks of a unit that people answer (%(default)s)"
    )
    study.add_argument("--trials", type=int, default=DEFAULT.n_trials, help="answers of one person (%(default)s)")
    people = parser.add_argument_group("what to expect of people and of the similarity")
    people.add_argument("--slope", type=float, default=DEFAULT.slope, help="slope of the people (%(default)s)")
    people.add_argument("--lapse", type=float, default=DEFAULT.lapse, help="mean share of guesses (%(default)s)")
    people.add_argument(
        "--agreement",
        type=float,
        default=DEFAULT.agreement,
        help="correlation of what the similarity and people see in units and tasks; the correlation of MIS with the "
        "answers comes out lower, because answers are few (%(default)s)",
    )
    wanted = parser.add_argument_group("a wanted width")
    wanted.add_argument(
        "--target-width", type=float, help="search, from --units on, the number of units for an interval this wide"
    )
    wanted.add_argument("--of", choices=list(precision.QUANTITIES), default="agreement", help="of which (%(default)s)")
    power = parser.add_argument_group("power of a comparison of two networks (IMI, appendix A.5)")
    power.add_argument("--power", action="store_true", help="units for a Mann-Whitney test, and nothing else")
    power.add_argument("--effect", type=float, default=2 / 3, help="difference in standard deviations (.10 / .15)")
    power.add_argument("--alpha", type=float, default=0.01, help="error level, already adjusted (%(default)s)")
    power.add_argument("--wanted-power", type=float, default=0.95, help="(%(default)s)")
    how = parser.add_argument_group("how")
    how.add_argument("--studies", type=int, default=20, help="simulated studies a combination (%(default)s)")
    how.add_argument("--bootstrap", type=int, default=100, help="resamples within each (%(default)s)")
    how.add_argument("--confidence", type=float, default=0.95, help="of the intervals (%(default)s)")
    how.add_argument("--seed", type=int, default=0, help="the same seed gives the same plan (%(default)s)")
    how.add_argument("--out", type=Path, metavar="FILE.csv", help="write the table there too")
    args = parser.parse_args(argv)
    for name, least in (("studies", 1), ("bootstrap", 2), ("seed", 0)):
        if getattr(args, name) < least:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least {least}")
    if not 0 < args.confidence < 1:
        parser.error(f"--confidence is {args.confidence:g}; it must be between 0 and 1")
    return args


def numbers(text: str) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 10,30,60") from None


def whole_numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    values = numbers(text)
    if any(value != int(value) for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 40,84,200")
    return [int(value) for value in values]


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"\nError: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
