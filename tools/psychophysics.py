"""Ask people about units that nobody has answered yet: export the easiest, hardest and random ones, analyse the answers.

The interventional experiment of the MIS paper (section 4.1.2, figure 2C). This is a tool, not a stage; its files are
described in docs/psychophysics.md. `python -m experiment` asks the questions in the browser.

Reads   params.yaml, data/{scores,calibration,human,tasks,images,models}, results/provenance.json
Writes  the folder of --out
Run     python -m tools.psychophysics export --out psychophysics --models resnet,vit
        python -m tools.psychophysics analyse answers.csv --study psychophysics --out psychophysics-results
"""

from __future__ import annotations

import argparse
from pathlib import Path

from study.command import parser, run
from study.people.analysing import analyse
from study.people.export_options import add_arguments, options_of
from study.people.exporting import export

_FEWEST_RESAMPLES = 100


def main(argv: list[str] | None = None) -> None:
    line = parser(__doc__)
    line.prog = "python -m tools.psychophysics"
    commands = line.add_subparsers(dest="command", required=True)
    out = commands.add_parser("export", help="write the questions of a study with people")
    out.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder")
    add_arguments(out)
    _add_analysis(commands.add_parser("analyse", help="compare the groups by the answers of people"))
    args = line.parse_args(argv)
    if args.command == "export":
        options = options_of(args)
        if problem := options.problem():
            line.error(problem)
        export(options)
        return
    if args.bootstrap < _FEWEST_RESAMPLES:
        line.error(f"--bootstrap is {args.bootstrap}; it must be at least {_FEWEST_RESAMPLES}")
    if not 0 < args.confidence < 1:
        line.error(f"--confidence is {args.confidence:g}; it must be between 0 and 1")
    analysis = analyse(args.answers, args.study, args.confidence, args.bootstrap)
    if args.out is not None:
        analysis.write(args.out)
    print(analysis.told())


def _add_analysis(back: argparse.ArgumentParser) -> None:
    back.add_argument("answers", type=Path, help="table of answers, see docs/psychophysics.md")
    back.add_argument("--study", type=Path, required=True, metavar="FOLDER", help="what was exported")
    back.add_argument("--out", type=Path, metavar="FOLDER", help="new folder for groups.csv, tests.csv and answers.csv")
    back.add_argument("--confidence", type=float, default=0.95, help="of the intervals (%(default)s)")
    back.add_argument("--bootstrap", type=int, default=2000, help="resamples (%(default)s)")


if __name__ == "__main__":
    run(main)
