"""Casts to small types: through `casts.narrowed`, which asks whether numbers fit, or in a file listed here with the reason why
they always do."""

from __future__ import annotations

import ast

import pytest

from tests.helpers.rules import ROOT

SMALL = {
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "float16",
    "float32",
    "Int8",
    "Int16",
    "Int32",
    "<i2",
    "<i4",
}
CASTS = {"astype", "to_numpy", "array", "asarray", "ascontiguousarray"}
PACKAGES = ("interpretability", "study", "stages")
FILES = sorted(path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
FIT = {
    "interpretability/casts.py": "the cast itself, after the question",
    "interpretability/analysis/ranking.py": "means and deviations of scores between 0 and 1",
    "interpretability/extremes/selection.py": "halves of 64-bit keys; values that leave float32 are refused as infinite",
    "interpretability/extremes/windows.py": "halves of 64-bit keys; values that leave float32 are refused as infinite",
    "interpretability/extremes/ties.py": "shares between 0 and 1",
    "interpretability/visualisations/canvas.py": "colours between 0 and 1, times 255",
    "interpretability/synthetic/factor_reading.py": "rows of length 1",
    "interpretability/images.py": "pixels, clipped to 0 to 255",
    "interpretability/margins.py": "differences of cosines, -4 to 4",
    "interpretability/mis.py": "counts of tasks, at most MOST_TASKS by a check before",
    "interpretability/networks/long_side.py": "pixels, clipped to 0 to 255, and places that torch counts in float32",
    "interpretability/similarity/arrays.py": "float16 as float32",
    "interpretability/similarity/base.py": "numbers of images, after a check of their bounds, and places of fewer rows",
    "interpretability/similarity/by_topic.py": "differences of similarities that are float32",
    "interpretability/similarity/features.py": "a self-check's own numbers",
    "interpretability/similarity/table.py": "numbers of images that are int32 already, and rows of the table that hold them",
    "interpretability/synthetic/confidence.py": "1 to 3",
    "interpretability/synthetic/factors.py": "unit vectors",
    "interpretability/synthetic/planted_units.py": "numbers of images below the number of images",
    "interpretability/synthetic/scenes.py": "colours and places between 0 and 1",
    "interpretability/synthetic/sparse_autoencoder.py": "unit vectors, and means of float32",
    "interpretability/synthetic/superposition.py": "sums of a few features of amplitude 1",
    "study/extraction/table_blocks.py": "values that `casts.fits` has seen",
    "study/explanations/asking.py": "numbers of pairs and draws below their number, and rows of the manifest",
    "study/explanations/clip_guide.py": "cosines and probabilities",
    "study/explanations/concepts.py": "presence, 0 or 1",
    "study/explanations/guide.py": "probabilities",
    "study/files/chunks.py": "numbers of images that are int32 already",
    "study/label_free/embedded.py": "rows of length 1, and numbers of images of tasks or of a sample that are int32 already",
    "study/label_free/job.py": "numbers of images that are int32 already",
    "study/label_free/plan.py": "random numbers that stand for rows of length 1",
    "study/label_free/run.py": "places below the number of images, and numbers of images that are int32 already",
    "study/networks/directions.py": "a matrix whose numbers `casts.fits` has seen",
    "study/networks/trial.py": "pixels, clipped to 0 to 255",
    "study/people/answers_from_table.py": "numbers that `casts.whole` or a bound has seen, and places below the number of rows",
    "study/people/recorded_answers.py": "confidence that the reader has seen, -1 to 3",
    "study/report/page/alike.py": "shares from 0 to 1, and counts of at most the pictures of a unit",
    "study/report/page/gallery.py": "steps between -STEPS and STEPS",
    "study/report/page/packing.py": "steps between 0 and 255",
    "study/solving/embeddings.py": "places below the number of images",
    "study/solving/kind_tasks.py": "numbers of made images that are int32 already",
    "study/solving/kinds.py": "numbers of tasks, at most MOST_TASKS by a check of parameters",
    "study/solving/margins.py": "numbers of images of tasks that are int32 already",
    "study/solving/study_margins.py": "numbers of images of tasks that are int32 already",
    "study/tasks/made.py": "numbers of images that are int32 already",
    "study/visualisations/medians.py": "rows of the manifest, below the number of images",
}


def small_casts(source: str) -> list[int]:
    """Lines of casts to a small type whose values no `narrowed` has seen."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CASTS
        and SMALL & {word for part in (*node.args, *node.keywords) for word in words(part)}
        and not any(isinstance(part, ast.Name) and part.id == "narrowed" for part in ast.walk(node))
    ]


def words(part: ast.AST) -> set[str]:
    """Names of types in an argument, as np.int32 or as text."""
    nodes = list(ast.walk(part))
    text = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return text | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("file", FILES)
def test_small_casts_are_asked_for_or_known_to_fit(file):
    found = small_casts((ROOT / file).read_text(encoding="utf-8"))
    assert file in FIT or not found, "use interpretability.casts.narrowed, or say in FIT why the numbers always fit"
    assert file not in FIT or found or file == "interpretability/casts.py", f"{file} has no such cast any more"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x.astype(np.int16)", True),
        ('frame.astype({"n": "int16"})', True),
        ("np.asarray(x, dtype=np.float32)", True),
        ("column.to_numpy(np.int32)", True),
        ("np.ascontiguousarray(narrowed(x, np.int32, 'tasks'))", False),
        ("x.astype(np.int64)", False),
        ("np.zeros(3, dtype=np.int16)", False),
    ],
)
def test_what_counts_as_a_small_cast(line, found):
    assert bool(small_casts(line)) == found
