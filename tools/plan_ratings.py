"""Plan ratings of texts: how exact do scores get, and how many images, ratings, people and how much money does it take?

Whole studies are simulated (units, guide, raters) and scored by the latent model as the pipeline does. Nothing is read, and
nothing is written but the file named by --out. This is a tool, not a stage.

Examples
  python -m tools.plan_ratings --units 100 --texts 5 --images 30,60,183 --raters 1,3
  python -m tools.plan_ratings --guide mediocre --errors beta --target-width 0.2
  python -m tools.plan_ratings --target-rce 0.1 --gold 30
  python -m tools.plan_ratings --methods LE=.213,CD=.146,INVERT=.132,MAIA=.113,DnD=.104 --units 100
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from math import inf
from pathlib import Path

import pandas as pd

from interpretability.errors import InputError
from interpretability.explanations import planning
from interpretability.explanations.simulated_studies import Asked
from interpretability.synthetic.crowd_settings import GUIDES, SETTINGS
from interpretability.synthetic.raters import ERRORS
from study.files.tables import write_csv
from study.log import logger
from tools.plan_answers import whole_numbers

log = logger("plan")

HEADS = {
    "raters_an_image": "each",
    "ratings_a_pair": "a pair",
    "guide_only_rce": "guide only",
    "undefined_share": "undefined",
}
SHOWN = [
    "images",
    "raters_an_image",
    "ratings_a_pair",
    "ratings",
    "raters",
    "hours",
    "money",
    "rce",
    "width",
    "coverage",
]
NOTE = """images, each: images rated for a unit and text, and ratings of each; a pair: ratings of a unit and text, gold aside.
ratings, raters, hours, money: of the whole study, gold included. rce: relative correlation error; guide only: that of the
guide without any rating. width: of 95 % intervals; coverage: share of them that hold the true score. All of it simulated: no
plan knows how good your guide is, so compare --guide and --errors."""


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    study = planning.Study(
        pairs=args.units * args.texts,
        setting=args.setting,
        guide=args.guide,
        errors=args.errors,
        n_images=args.probing,
        price=args.price,
        a_rater=args.a_rater,
    )
    designs = [Asked(images, raters, args.gold) for images, raters in product(args.images, args.raters)]
    table = planning.search(
        study,
        designs,
        n_studies=args.studies,
        seed=args.seed,
        seen=lambda row: log.info(
            "%(images)d images, %(raters_an_image)d ratings each: rce %(rce).3f, width %(width).3f", row
        ),
    )
    if args.out is not None:
        write_csv(args.out, table)
    print(f"\n{shown(table)}\n\n{NOTE}")
    for of, target in (("width", args.target_width), ("rce", args.target_rce)):
        front = planning.front(table, of)
        best = ", ".join(f"{row.images} x {row.raters_an_image}" for row in front.itertuples())
        print(f"\nDesigns that no cheaper one beats in {of} (images x ratings each): {best}")
        if target is not None:
            print(told(planning.needed(study, table, of, target), of))
    if args.methods:
        print(f"\n{compared(args, table)}")


def told(found: dict[str, float], of: str) -> str:
    """What a target takes, in words."""
    named = f"{planning.TARGETS[of]} of {found['target']:g}"
    if found["ratings_a_pair"] != found["ratings_a_pair"]:
        return f"No design here reaches a {named}; add more --images"
    return (
        f"For a {named}: {found['images']:.0f} images a unit and text with {found['raters_an_image']:.0f} ratings each, "
        f"{found['ratings']:,.0f} ratings by {found['raters']:,.0f} people, {found['hours']:.0f} hours, {found['money']:,.2f} "
        "in money"
    )


def compared(args: argparse.Namespace, table: pd.DataFrame) -> str:
    """How often each method wins with each design, and the units for a sure winner."""
    lines = []
    for row in table.to_dict("records"):
        how = {"spread": args.spread, "alike": args.alike, "seed": args.seed}
        wins = planning.winning(args.methods, args.units, row["deviation"], **how)
        sure = wins[wins["wins"] >= args.sure]["method"]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(wins["method"], wins["wins"], strict=True))
        first = f"{sure.iloc[0]} wins" if len(sure) else "no method wins"
        units = planning.units_for_winner(args.methods, row["deviation"], sure=args.sure, **how)
        lines.append(
            f"{row['images']} x {row['raters_an_image']}, {row['money']:,.2f} in money: {first} with {args.sure:.0%} probability "
            f"({shares}); the best one needs {units:,} units for that"
        )
    return "\n".join(lines)


def shown(table: pd.DataFrame) -> str:
    """The table for people: short heads."""
    columns = [*SHOWN, "undefined_share", "guide_only_rce"]
    return table[columns].rename(columns=HEADS).to_string(index=False, float_format=lambda value: f"{value:.3g}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.plan_ratings", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    study = parser.add_argument_group("the study")
    study.add_argument("--units", type=int, default=40, help="units (%(default)s)")
    study.add_argument("--texts", type=int, default=1, help="texts of each unit (%(default)s)")
    study.add_argument(
        "--images", type=whole_numbers, default=[30, 60, 183], metavar="N,..", help="rated images (30,60,183)"
    )
    study.add_argument("--raters", type=whole_numbers, default=[3], metavar="N,..", help="ratings of an image (3)")
    study.add_argument(
        "--gold", type=int, default=30, help="images with, and as many without, a known concept (%(default)s)"
    )
    study.add_argument("--price", type=float, default=planning.PRICE, help="money a rating (%(default)s)")
    study.add_argument(
        "--a-rater", type=int, default=planning.A_RATER, help="ratings that a person gives (%(default)s)"
    )
    world = parser.add_argument_group("what to expect")
    world.add_argument(
        "--setting", choices=list(SETTINGS), default="mixed_guides", help="how rare concepts are (%(default)s)"
    )
    world.add_argument("--guide", choices=list(GUIDES), default="good", help="of what kind the guide is (%(default)s)")
    world.add_argument("--errors", choices=list(ERRORS), default="constant", help="how raters err (%(default)s)")
    world.add_argument("--probing", type=int, help="images of the probing set (as the setting has)")
    wanted = parser.add_argument_group("what is wanted")
    wanted.add_argument("--target-width", type=float, help="width of an interval: what it takes")
    wanted.add_argument("--target-rce", type=float, help="relative correlation error: what it takes")
    wanted.add_argument(
        "--methods", type=means, default={}, metavar="NAME=MEAN,..", help="which method wins at this budget"
    )
    wanted.add_argument("--sure", type=float, default=0.9, help="how surely (%(default)s)")
    wanted.add_argument(
        "--spread", type=float, default=0.15, help="standard deviation of scores over units (%(default)s)"
    )
    wanted.add_argument("--alike", type=float, default=0.5, help="their correlation between methods (%(default)s)")
    how = parser.add_argument_group("how")
    how.add_argument("--studies", type=int, default=4, help="simulated studies a design (%(default)s)")
    how.add_argument("--seed", type=int, default=0, help="the same seed gives the same plan (%(default)s)")
    how.add_argument("--out", type=Path, metavar="FILE.csv", help="write the table there too")
    args = parser.parse_args(argv)
    for name, least in (("units", 1), ("texts", 1), ("studies", 2), ("seed", 0)):
        if getattr(args, name) < least:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least {least}")
    # what comes after the simulation is looked at before it
    for name, least, most in (("target_width", 0, inf), ("target_rce", 0, inf), ("sure", 0, 1)):
        value = getattr(args, name)
        if value is not None and not least < value < most:
            words = f"above {least}" + (f" and below {most}" if most < inf else "")
            parser.error(f"--{name.replace('_', '-')} is {value:g}; it must be {words}")
    for name, most in (("spread", inf), ("alike", 1)):
        if not 0 <= (value := getattr(args, name)) < most:
            words = "at least 0" + (f" and below {most}" if most < inf else "")
            parser.error(f"--{name} is {value:g}; it must be {words}")
    if args.out is not None and not args.out.parent.is_dir():
        parser.error(f"--out is {args.out}, but there is no folder {args.out.parent}")
    return args


def means(text: str) -> dict[str, float]:
    """Methods and their mean scores, NAME=MEAN with commas between them."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        found = {name: float(value) for name, value in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as LE=.21,CD=.15") from None
    if len(found) < len(pairs) or len(found) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} must name two methods or more, each once")
    if wrong := [name for name, value in found.items() if not -1 <= value <= 1]:
        raise argparse.ArgumentTypeError(f"the mean of {wrong[0]} is {found[wrong[0]]:g}; scores lie between -1 and 1")
    return found


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"\nError: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
