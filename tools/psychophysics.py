"""Ask people about units that nobody has answered yet: export the easiest, hardest and random ones, analyse the answers.

The interventional experiment of the MIS paper (section 4.1.2, figure 2C). This is a tool, not a stage; its files are
described in docs/psychophysics.md.

Reads   params.yaml, data/{scores,calibration,human,tasks,images,models}, results/provenance.json
Writes  the folder of --out
Run     python -m tools.psychophysics export --out psychophysics --models resnet,vit
        python -m tools.psychophysics analyse answers.csv --study psychophysics --out psychophysics-results
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interpretability import schema
from interpretability.design import intervention
from interpretability.files import sha256_file
from interpretability.schema import KEY
from study.command import run
from study.errors import StudyError
from study.files.tables import read_json, read_parquet, write_csv
from study.files.unit_tables import Margins
from study.images.manifest import open_images
from study.log import logger
from study.params.whole import Params, load_params
from study.people import asking, questions

log = logger("psychophysics")


RESPONSE_COLUMNS = [*KEY, "task", "participant", "correct", "confidence", "source"]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    (export if args.command == "export" else analyse)(args)


def export(args: argparse.Namespace) -> None:
    """Write the folder of questions."""
    params = load_params(args.params)
    backend = args.backend or params.scores.backends[0]
    if backend not in params.scores.backends:
        raise StudyError(f"--backend is {backend!r}; the study has {', '.join(params.scores.backends)}")
    slope = read_json(args.data / "calibration/slope.json")[backend]
    margins = Margins(args.data / f"scores/{backend}.parquet")
    annotated = read_parquet(args.data / "human/units.parquet", KEY[:3]).drop_duplicates()
    n_tasks = read_json(args.data / "tasks/summary.json")["n_tasks"]
    asked = np.arange(1 if args.held_out else 0, n_tasks, 2 if args.held_out else 1)
    if args.tasks is not None:
        if not 1 <= args.tasks <= len(asked):
            raise StudyError(
                f"--tasks is {args.tasks}; allowed are 1 to {len(asked)}, the tasks of a unit that can be asked"
            )
        asked = asked[: args.tasks]
    n_random = args.units if args.random is None else args.random
    design = asking.Design(
        asked=asked,
        n_units=args.units,
        n_random=n_random,
        held_out=args.held_out,
        n_responses=args.responses,
        n_trials=args.trials,
        seed=params.seed,
        format=args.format,
    )
    parts: list[dict[str, Any]] = []
    units, shown, sessions = [], [], []
    for model in asking.chosen_models(args.models, args.data / "models/roster.csv"):
        table = asking.candidates(model, margins, slope["slope"], params.mis, params.units, annotated)
        drawn = asking.questions_about(model, table, args.data / "tasks", design)
        rows = asking.written_rows(drawn, design, len(shown), len(sessions))
        units, shown, sessions = units + rows.units, shown + rows.questions, sessions + rows.sessions
        parts.append(
            {
                "model": model,
                "n_annotated": int((annotated["model"] == model).sum()),
                "n_candidates": len(table),
                "n_questions": len(rows.questions),
                "n_sessions": len(rows.sessions),
                "groups": drawn.expected.to_dict("records"),
            }
        )
        log.info("%s: %d questions in %d sessions", model, len(rows.questions), len(rows.sessions))
    files = sorted(
        {
            file
            for question in shown
            for file in (*question["left"], *question["right"], question["top"], question["bottom"])
        }
    )
    images = open_images(args.data / "images", params.images.root)
    with questions.new_folder(args.out) as folder:
        questions.write_rows(folder / "units.json", "units", units)
        questions.write_rows(folder / "questions.json", "questions", shown)
        questions.write_rows(folder / "sessions.json", "sessions", sessions)
        if not args.no_pictures:
            questions.write_images(folder, images, [int(Path(file).stem) for file in files], args.format, args.size)
        questions.write_manifest(folder, manifest(args, params, backend, slope, asked, parts))
    log.info("%s: %d questions about %d units, %d pictures", args.out, len(shown), len(units), len(files))


def manifest(
    args: argparse.Namespace,
    params: Params,
    backend: str,
    slope: dict[str, Any],
    asked: np.ndarray,
    parts: list[dict[str, Any]],
) -> dict[str, Any]:
    """study.json without the digests of its files."""
    inputs = [f"scores/{backend}.parquet", "calibration/slope.json", "human/units.parquet", "tasks/summary.json"]
    return {
        "backend": backend,
        "slope": slope["slope"],
        "slope_status": slope["status"],
        "condition": asking.CONDITION,
        "seed": params.seed,
        "annotated_source": params.human.source,
        "generated_pictures": params.images.source == "generated",
        "held_out": args.held_out,
        "tasks": [int(task) for task in asked],
        "n_explanations": params.tasks.n_explanations,
        "responses_a_unit": args.responses,
        "trials_a_session": args.trials,
        "pictures": {"left_out": args.no_pictures, "format": args.format, "size": args.size},
        "networks": parts,
        "inputs": {name: sha256_file(args.data / name) for name in inputs},
        "provenance": {name: value for name, value in read_json(args.provenance).items() if name != "params"},
    }


def analyse(args: argparse.Namespace) -> None:
    """Print and write what people answered, group by group."""
    key = questions.read_key(args.study)
    responses, simulated = questions.read_responses(args.answers, key)
    source = "simulated" if simulated else "people"
    measured = intervention.measured(responses, key.expected, key.seed, args.bootstrap, args.confidence).assign(
        source=source
    )
    tests = intervention.compare_groups(responses, args.confidence).assign(source=source)
    if args.out is not None:
        with questions.new_folder(args.out) as folder:
            write_csv(folder / "groups.csv", measured)
            write_csv(folder / "tests.csv", tests)
            answers = responses.assign(source=source)[RESPONSE_COLUMNS]
            write_csv(folder / "answers.csv", answers.sort_values(RESPONSE_COLUMNS[:6], kind="stable"))
    title = "Simulated answers: no person gave them." if simulated else "Answers of people."
    print(f"{title} Shares of right answers, groups of units; intervals of {100 * args.confidence:g} %\n")
    print("\n\n".join(shown(table) for table in (measured, tests) if len(table)) + "\n")
    for model in pd.unique(measured["model"]):
        print(f"{model}: {verdict(tests[tests['model'] == model])}")


def shown(table: pd.DataFrame) -> str:
    return table.drop(columns="source").to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep="")


def verdict(tests: pd.DataFrame) -> str:
    """Whether the groups of a network lie as their scores said (easiest above random above hardest)."""
    if tests.empty:
        return "too few groups with two answered units to compare"
    order = {name: number for number, name in enumerate(schema.GROUPS)}
    expected = [
        np.sign(order[second] - order[first]) for first, second in zip(tests["first"], tests["second"], strict=True)
    ]
    right = np.sign(tests["difference"].to_numpy()) == expected
    apart = (tests["low"] > 0) | (tests["high"] < 0)
    return (
        f"{int(right.sum())} of {len(tests)} pairs of groups are in the order that their scores said, "
        f"{int((right & apart.to_numpy()).sum())} of them with an interval that leaves out zero (other units and other people, "
        "each comparison alone)"
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.psychophysics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    out = commands.add_parser("export", help="write the questions of a study with people")
    out.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder")
    out.add_argument(
        "--models", type=names, default=[], metavar="NAME,..", help="networks (all studied ones, if they are few)"
    )
    out.add_argument(
        "--units", type=int, default=42, help="units of the easiest and of the hardest group (%(default)s)"
    )
    out.add_argument("--random", type=int, help="units of the random group (as --units); 0 leaves it out")
    out.add_argument("--backend", help="similarity whose MIS chooses (the first of scores.backends)")
    out.add_argument("--tasks", type=int, help="tasks of a unit that are asked (all)")
    out.add_argument(
        "--held-out",
        action="store_true",
        help="choose units by their even tasks, ask the odd ones: no task chose its unit",
    )
    out.add_argument("--responses", type=int, default=30, help="answers to a unit (%(default)s)")
    out.add_argument("--trials", type=int, default=40, help="questions of one session (%(default)s)")
    out.add_argument("--format", choices=sorted(questions.SUFFIX), default="png", help="of the pictures (%(default)s)")
    out.add_argument(
        "--size", type=int, default=224, help="centre squares of at most this side, 0: whole pictures (%(default)s)"
    )
    out.add_argument(
        "--no-pictures", action="store_true", help="leave the pictures out; their rows in the manifest remain"
    )
    out.add_argument("--params", type=Path, default=Path("params.yaml"))
    out.add_argument("--data", type=Path, default=Path("data"))
    out.add_argument("--provenance", type=Path, default=Path("results/provenance.json"))
    back = commands.add_parser("analyse", help="compare the groups by the answers of people")
    back.add_argument("answers", type=Path, help="table of answers, see docs/psychophysics.md")
    back.add_argument("--study", type=Path, required=True, metavar="FOLDER", help="what was exported")
    back.add_argument("--out", type=Path, metavar="FOLDER", help="new folder for groups.csv, tests.csv and answers.csv")
    back.add_argument("--confidence", type=float, default=0.95, help="of the intervals (%(default)s)")
    back.add_argument("--bootstrap", type=int, default=2000, help="resamples (%(default)s)")
    args = parser.parse_args(argv)
    least = {"units": 1, "random": 0, "responses": 1, "trials": 1, "size": 0, "bootstrap": 100}
    for name, bound in least.items():
        if getattr(args, name, None) is not None and getattr(args, name) < bound:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least {bound}")
    if args.command == "analyse" and not 0 < args.confidence < 1:
        parser.error(f"--confidence is {args.confidence:g}; it must be between 0 and 1")
    return args


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    run(main)
