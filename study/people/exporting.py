"""The folder of two-alternative questions about units that nobody has answered, written from a finished study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from interpretability.design import practice
from interpretability.files import sha256_file
from interpretability.schema import MADE, UNIT
from study.errors import StudyError
from study.files import sources
from study.files.tables import read_json, read_parquet
from study.files.unit_tables import Margins
from study.images.made import Pictures
from study.images.manifest import open_images
from study.log import logger
from study.networks.clusters import read_clusters
from study.params.whole import Params, load_params
from study.people import asking, questions
from study.people.experiments import name_of
from study.people.export_options import ExportOptions
from study.people.pictures import QUALITY, Encoding, write_pictures
from study.people.rows import Written
from study.people.studied import Built, among, read_built, scores_of

log = logger("psychophysics")


def export(options: ExportOptions) -> None:
    """Write the folder of questions that `options` describe; docs/psychophysics.md has its files.

    Same study, same options: same bytes. The folder appears whole or not at all. Raises StudyError naming the option, what it
    is and what is allowed.
    """
    if problem := options.problem():
        raise StudyError(problem)
    questions.vacant(options.out)
    params = load_params(options.params)
    backend = options.backend or params.scores.backends[0]
    if backend not in params.scores.backends:
        raise StudyError(f"--backend is {backend!r}; the study has {', '.join(params.scores.backends)}")
    slope = read_json(options.data / "calibration/slope.json")[backend]
    tasks = read_json(options.data / "tasks/summary.json")
    design = design_of(options, params, tasks)
    models = asking.chosen_models(options.models, options.data / "models/roster.csv")
    built = [read_built(options.data / "tasks", model) for model in models]
    asking.check_conditions(options.conditions, built)
    encoding = Encoding(options.format, options.quality or QUALITY, options.size, params.seed)
    margins = Margins(options.data / f"scores/{backend}.parquet")
    # what observers said through the encoder, or beside it, is nobody's answer
    annotated = sources.counted(read_parquet(options.data / "human/units.parquet"))[UNIT].drop_duplicates()
    made = any(condition in MADE for condition in options.conditions)
    clusters = read_clusters(options.data / "notes/activations/clusters.csv")
    rows: set[int] = set()  # of the pictures that are shown
    again: set[int] = set()  # of those that stand in a catch trial twice

    def file_of(row: int) -> str:
        rows.add(row)
        return encoding.file(row)

    def copy_of(row: int) -> str:
        again.add(row)
        return encoding.file(row, again=True)

    networks, experiments, written = [], [], Written.none()
    for network in built:
        scores = scores_of(network.model, margins, slope["slope"], params.mis)
        asking.check_scored(options.conditions, network.model, scores, backend)
        found = asking.candidates(scores, params.units, annotated, clusters, design.seed)
        eligible = asking.with_made(found.table, network, options.conditions)
        groups = asking.groups_of(network.model, eligible, design, made=made)
        rest = found.table[~among(found.table, groups.chosen)]
        n_annotated = int((annotated["model"] == network.model).sum())
        counts = {"n_annotated": n_annotated, "n_candidates": len(eligible), "n_repeats": found.n_repeats}
        networks.append({"model": network.model, **counts})
        for condition in options.conditions:
            name = name_of(network.model, condition, design.n_explanations, tasks["n_explanations"])
            asked = asking.ask(groups, scores, rest, network, condition, design)
            before = len(written.sessions), len(written.questions)
            written.add(name, asked, design.asked, design.seed, file_of, copy_of)
            n_sessions, n_questions = len(written.sessions) - before[0], len(written.questions) - before[1]
            experiments.append(_experiment(name, asked, network, design, n_sessions, n_questions))
            log.info("%s: %d questions in %d sessions", name, n_questions, n_sessions)
            if len(asked.without):
                log.warning("%s: %d chosen units have no %s tasks", name, len(asked.without), condition)
    _refuse_doubled(experiments)
    with questions.new_folder(options.out) as folder:
        for name, content in asdict(written).items():
            questions.write_rows(folder / f"{name}.json", name, content)
        if not options.no_pictures:
            natural = open_images(options.data / "images", params.images.root)
            images = Pictures.open(natural, options.data / "visualisations" if made else None)
            write_pictures(folder, images, rows, encoding, again=again)
        head = manifest(options, params, backend, slope, design, tasks["n_explanations"])
        questions.write_manifest(folder, {**head, "networks": networks, "experiments": experiments})
    log.info(
        "%s: %d questions of %d experiments, %d pictures",
        options.out,
        len(written.questions),
        len(experiments),
        len(rows) + len(again),
    )


def design_of(options: ExportOptions, params: Params, tasks: dict[str, Any]) -> asking.Design:
    """The choices of an export, checked against what the study has."""
    first, step = (1, 2) if options.held_out else (0, 1)
    asked = np.arange(first, tasks["n_tasks"], step)
    if options.tasks is not None:
        if options.tasks > len(asked):
            raise StudyError(
                f"--tasks is {options.tasks}; allowed are 1 to {len(asked)}, the tasks of a unit that can be asked"
            )
        asked = asked[: options.tasks]
    k = tasks["n_explanations"] if options.explanations is None else options.explanations
    if k > tasks["n_explanations"]:
        raise StudyError(
            f"--explanations is {k}; allowed are 1 to {tasks['n_explanations']}, those of the study, and 0 for queries alone"
        )
    return asking.Design(
        asked=asked,
        n_explanations=k,
        n_units=options.units,
        n_random=options.units if options.random is None else options.random,
        held_out=options.held_out,
        n_responses=options.responses,
        n_trials=options.trials,
        n_practice=options.practice,
        n_catch=options.catch,
        seed=params.seed,
    )


def _experiment(
    name: str, asked: asking.Asked, network: Built, design: asking.Design, n_sessions: int, n_questions: int
) -> dict[str, Any]:
    """An experiment as study.json tells of it."""
    expected = asked.expected.astype(object)
    return {
        "experiment": name,
        "model": network.model,
        "condition": asked.condition,
        "n_explanations": design.n_explanations,
        "n_units": len(asked.units),
        "n_questions": n_questions,
        "n_sessions": n_sessions,
        "groups": expected.where(expected.notna(), None).to_dict("records"),
        "without_tasks": asked.without[["layer", "unit", "group"]].to_dict("records"),
    }


def _refuse_doubled(experiments: Sequence[dict[str, Any]]) -> None:
    names = pd.Series([each["experiment"] for each in experiments])
    if names.duplicated().any():
        raise StudyError(
            f"two experiments would be called {names[names.duplicated()].iloc[0]}: a network's name ends like a kind of task. "
            "Export them into two folders (--models, --conditions), or rename the network in the roster"
        )


def manifest(
    options: ExportOptions, params: Params, backend: str, slope: dict[str, Any], design: asking.Design, full: int
) -> dict[str, Any]:
    """study.json without what each experiment adds and the digests of the folder's files."""
    inputs = [f"scores/{backend}.parquet", "calibration/slope.json", "human/units.parquet", "tasks/summary.json"]
    if any(condition in MADE for condition in options.conditions):
        inputs.append("visualisations/run.json")  # with the digest of the made images
    lossy = None if options.format == "png" else options.quality or QUALITY
    pictures = {"left_out": options.no_pictures, "format": options.format, "quality": lossy, "size": options.size}
    return {
        "kind": questions.TWO_ALTERNATIVE,
        "backend": backend,
        "slope": slope["slope"],
        "slope_status": slope["status"],
        "seed": params.seed,
        "source": params.human.source,
        "generated_pictures": params.images.source == "generated",
        "held_out": options.held_out,
        "tasks": design.asked.tolist(),
        "n_explanations": full,
        "responses_a_unit": design.n_responses,
        "trials_a_session": design.n_trials,
        "practice": {"n": design.n_practice, "obvious": design.n_practice - practice.n_less_obvious(design.n_practice)},
        "catch": {"n": design.n_catch},
        "checks": asdict(params.human.checks),
        "pictures": pictures,
        "inputs": {name: sha256_file(options.data / name) for name in inputs},
        "provenance": {name: value for name, value in read_json(options.provenance).items() if name != "params"},
    }
