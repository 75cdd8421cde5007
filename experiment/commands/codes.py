"""Write how the sessions of a run ended, a row each: to pay people by the code that they bring, and to read their comments.

    session     its public name
    platform    direct | prolific | mturk
    code        what its page showed at the end; empty where it showed none
    outcome     complete | practice (it did not go well, and is paid) | left | time (no sign of life) | before (was here before)
    paid        1 for complete and practice, whatever the checks say
    accepted    1 where its answers count
    started, ended   UTC
    comment     as it was written; a ' stands before one that a spreadsheet would take for a formula

Sessions that still run are left out, and their number is told.
"""

from __future__ import annotations

import argparse
import csv
import io
from datetime import UTC, datetime
from pathlib import Path

from experiment import recorded, store
from experiment.flow import PAID
from study.files.tables import write_text
from study.log import logger

COLUMNS = ("session", "platform", "code", "outcome", "paid", "accepted", "started", "ended", "comment")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run; the server may be running")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="CSV that is written, whole or not at all"
    )


def main(args: argparse.Namespace) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    running = 0
    with store.reading(recorded.database(args.run)) as connection:
        for row in connection.execute("SELECT * FROM session ORDER BY number"):
            if row["ended"] is None:
                running += 1
                continue
            paid = row["outcome"] in PAID
            shown = (row["session"], row["platform"], row["code"] if paid else "", row["outcome"], int(paid))
            times = (_utc(row["started"]), _utc(row["ended"]))
            table.writerow((*shown, row["accepted"], *times, _harmless(row["comment"] or "")))
    write_text(args.out, text.getvalue())
    logger("codes").info("%s written; %d sessions still run", args.out, running)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _harmless(comment: str) -> str:
    return f"'{comment}" if comment.startswith(_FORMULA) else comment
