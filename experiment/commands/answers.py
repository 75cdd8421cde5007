"""Write the answers of a run as a table: for the analysis of the questions, for the study, or for the stage crowd; or how its
sessions ended, with their codes and comments, to pay people."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMS = ("questions", "table", "imi", "ratings", "codes", "units")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that `prepare` made; the server may be running")
    parser.add_argument(
        "--form",
        choices=FORMS,
        required=True,
        help="questions: for `python -m tools.psychophysics analyse`; table, imi: for human.source; "
        "ratings: for the stage crowd; units: of picking pages, right answers beside chance; codes: who is to be paid",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="CSV that is written, whole or not at all"
    )
    parser.add_argument(
        "--all", action="store_true", help="questions and table: with sessions that do not count, and a column accepted"
    )
    parser.add_argument(
        "--experiments", default="", metavar="NAME,..", help="only answers of these experiments (all of the run)"
    )


def main(args: argparse.Namespace) -> None:
    from experiment.answers import text_of
    from experiment.recorded import read
    from study.files.tables import write_text
    from study.log import logger

    wanted = [name.strip() for name in args.experiments.split(",") if name.strip()]
    text = text_of(read(args.run), args.form, every=args.all, experiments=wanted)
    write_text(args.out, text)
    logger("answers").info("%s: answers in the form %s", args.out, args.form)
