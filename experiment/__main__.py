"""Ask people in the browser. docs/experiment.md says how to run a study, from questions to answers.

Run     python -m experiment COMMAND --help
"""

from __future__ import annotations

import argparse
import importlib
import sys
from types import ModuleType

from study.command import parser, run

# what each does; its module in experiment.commands is loaded when it is called, since some load much
COMMANDS = {
    "show": "show the experiment with the questions of the study that is here",
    "prepare": "make a run folder",
    "serve": "serve a run",
    "answers": "write the answers of a run as a table, or the codes of its sessions",
    "backup": "copy the database of a run, also while it is served",
    "plan": "what a study will cost, and how many people it takes",
    "rehearse": "let made-up participants walk through an experiment",
}


def main(argv: list[str] | None = None) -> None:
    words = sys.argv[1:] if argv is None else argv
    line = parser(__doc__)
    line.prog = "python -m experiment"
    commands = line.add_subparsers(dest="command", required=True)
    loaded: ModuleType | None = None
    for name, meaning in COMMANDS.items():
        if words[:1] == [name]:
            loaded = importlib.import_module(f"experiment.commands.{name}")
            raw = argparse.RawDescriptionHelpFormatter
            loaded.add_arguments(
                commands.add_parser(name, help=meaning, description=loaded.__doc__, formatter_class=raw)
            )
        else:
            commands.add_parser(name, help=meaning)
    args = line.parse_args(words)
    assert loaded is not None  # a word that is no command has ended in a message
    loaded.main(args)


if __name__ == "__main__":
    run(main)
