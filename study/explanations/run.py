"""The stage `explanations` from its inputs to its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from study.explanations import asking, making, pages, scoring
from study.explanations.asking import Rows
from study.explanations.guide import SIMULATED
from study.explanations.inputs import FOLDER, Inputs, Units
from study.explanations.judging import EXACT, Judges, judges
from study.explanations.matrices import Matrix, write_matrices
from study.explanations.readers import LABEL, read_said
from study.explanations.scoring import SCORE_COLUMNS, Scorer
from study.explanations.texts import KNOWN_SOURCE, TEXT_COLUMNS, Texts
from study.files.tables import write_json, write_parquet
from study.log import logger

log = logger("explanations")

SECOND = "second_guide"  # matrix of what another machine says
_BLOCK = 64  # rows of a matrix in memory at once
_UNIT = [("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64())]
UNITS = pa.schema(_UNIT)
TEXTS = pa.schema(
    [
        *_UNIT,
        *((name, pa.string()) for name in ("method", "kind", "text", "formula", "source", "file")),
        *(("row", pa.int64()), ("pair", pa.int32())),
    ]
)
SCORES = pa.schema(
    [
        *_UNIT,
        *((name, pa.string()) for name in ("method", "kind", "text")),
        ("n_images", pa.int64()),
        *((name, pa.float64()) for name in ("rho", "rho_se", "control_rho", "control_se", "recall")),
        *(("presence_source", pa.string()), ("simulated", pa.bool_()), ("reason", pa.string())),
    ]
)
PAIRS = pa.schema(
    [
        ("pair", pa.int32()),
        *_UNIT,
        ("text", pa.string()),
        *(("rho_true", pa.float64()), ("rho_guide_only", pa.float64()), ("reason", pa.string())),
    ]
)
CONCEPTS = pa.schema(
    [
        *((name, pa.string()) for name in ("concept", "presence_source", "guide_source", "guide_status")),
        *(("prevalence", pa.float64()), ("guide_mean", pa.float64())),
    ]
)


def write_explanations(inputs: Inputs, out: Path) -> None:
    """All files of the stage."""
    given = Texts.of(inputs.given, FOLDER)
    judged = judges(inputs, given)
    units = inputs.units(given.table)
    made = making.made_texts(inputs, units, judged)
    every = Texts.of([given.table, made], FOLDER)
    write_parquet(out / "images.parquet", inputs.probing.table())
    write_parquet(out / "units.parquet", units.table, UNITS)
    write_matrices(out / "columns.safetensors", {"values": (units.values.shape, [units.values])})
    known = _Known.write(out, every.concepts(), judged, inputs)
    scores = _scores(inputs, every, units, known, judged)
    write_parquet(out / "scores.parquet", scores, SCORES)
    _write_questions(inputs, every, units, known, judged, out)
    scored = int(scores["rho"].notna().sum())
    log.info(
        "%d texts of %d units, %d of them scored on %d images", len(scores), len(units.table), scored, _n_held(inputs)
    )


def _n_held(inputs: Inputs) -> int:
    return int(inputs.probing.holdout.sum())


class _Known:
    """Presence and guide of all concepts that texts speak of, in the files of the stage."""

    def __init__(self, path: Path, concepts: Sequence[str], names: Sequence[str]) -> None:
        self.concepts = list(concepts)
        self.presence, self.guide = (Matrix(path, name) if name in names else None for name in ("presence", "guide"))

    @classmethod
    def write(cls, out: Path, concepts: Sequence[str], judged: Judges, inputs: Inputs) -> _Known:
        """Write the matrices and the table of concepts."""
        n, table = len(inputs.probing), pd.DataFrame({"concept": concepts}, dtype="str")
        sources = {"presence": judged.presence, "guide": judged.guide, SECOND: judged.second}
        means = {name: np.full(len(concepts), np.nan) for name in sources}
        shape = len(concepts), n
        there = {
            name: (shape, _blocks(source.row, concepts, means[name]))
            for name, source in sources.items()
            if source is not None
        }
        write_matrices(out / "presence.safetensors", there)
        settings = inputs.params.explanations
        table["presence_source"] = settings.presence if judged.presence else ""
        table["guide_source"] = judged.guide.source if judged.guide else ""
        table["guide_status"] = judged.guide.status if judged.guide else ""
        table["prevalence"], table["guide_mean"] = means["presence"], means["guide"]
        write_parquet(out / "concepts.parquet", table, CONCEPTS)
        return cls(out / "presence.safetensors", concepts, list(there))

    def rows(self, texts: pd.Series) -> NDArray[np.int64]:
        return pd.Index(self.concepts).get_indexer(pd.Index(texts)).astype(np.int64)


def _blocks(
    row: Callable[[str], NDArray[np.float32]], concepts: Sequence[str], means: NDArray[np.float64]
) -> Iterator[NDArray[np.float32]]:
    """Rows of all concepts, some at a time; `means` takes in their means."""
    for start in range(0, len(concepts), _BLOCK):
        block = np.stack([row(concept) for concept in concepts[start : start + _BLOCK]])
        means[start : start + len(block)] = block.mean(axis=1, dtype=np.float64)
        yield block


def _scores(inputs: Inputs, every: Texts, units: Units, known: _Known, judged: Judges) -> pd.DataFrame:
    """scores.parquet."""
    settings, texts = inputs.params.explanations, every.table
    scorer = (
        Scorer(units.values, known.presence, known.concepts, inputs.probing.holdout)
        if known.presence is not None
        else None
    )
    rows = units.rows(texts)
    found = scoring.automatic_scores(
        scorer, texts, every.formulas, rows, units.reason, _n_held(inputs), settings.n_top, inputs.params.seed
    )
    guided = texts["method"].eq(making.OF_GUIDE) if settings.presence != "guide" else pd.Series(True, index=texts.index)
    simulated = _is_known(texts) | (guided & _simulated_guide(judged))
    table = pd.concat([texts, found], axis=1).assign(
        presence_source=settings.presence if judged.presence else "", simulated=simulated.astype(bool)
    )
    return table[SCORE_COLUMNS]


def _is_known(texts: pd.DataFrame) -> pd.Series:
    return texts["source"] == KNOWN_SOURCE


def _simulated_guide(judged: Judges) -> bool:
    return judged.guide is not None and judged.guide.status == SIMULATED


def _write_questions(inputs: Inputs, every: Texts, units: Units, known: _Known, judged: Judges, out: Path) -> None:
    """texts.parquet with the pair of each text, pairs, draws, questions, gold and run.json."""
    params, texts = inputs.params, every.table
    wanted = params.crowd
    pairs, number = asking.number_pairs(texts, wanted.methods)
    write_parquet(out / "texts.parquet", texts.assign(pair=number)[[*TEXT_COLUMNS, "pair"]], TEXTS)
    rows = Rows(units.values, units.rows(pairs), units.reason, known.presence, known.guide, known.rows(pairs["text"]))
    pairs = asking.described(pairs, rows, exact=params.explanations.presence == EXACT)
    write_parquet(out / "pairs.parquet", pairs, PAIRS)
    draws = asking.draw_images(pairs, rows, wanted, inputs.probing, params.seed)
    write_parquet(out / "draws.parquet", draws)
    asked = pages.questions_of(
        pairs, draws, _gold(inputs, pairs, draws, judged), inputs.images.columns["path"], wanted.page, params.seed
    )
    asked.write(out)
    each = wanted.n_raters if wanted.design != asking.ADAPTIVE else 1  # of its first wave
    n_ratings = len(asked.table) * each
    write_json(
        out / "run.json",
        {
            "study": asked.study,
            "images": inputs.images.digest,
            "n_images": len(inputs.probing),
            "n_holdout": _n_held(inputs),
            "n_pairs": len(pairs),
            "n_questions": len(asked.table),
            "n_gold": len(asked.gold),
            "n_raters": wanted.n_raters,
            "n_ratings": n_ratings,
            "cost": n_ratings * wanted.price,
            "design": wanted.design,
            "presence": params.explanations.presence,
            "guide": judged.guide.source if judged.guide else "none",
            "guide_status": judged.guide.status if judged.guide else "",
            "second_guide": judged.second.source if judged.second else "none",
            "second_guide_status": judged.second.status if judged.second else "",
            "simulated": bool(_is_known(texts).any() or _simulated_guide(judged)),
        },
    )
    if len(asked.table):
        log.info(
            "%d pairs of unit and text, %d questions on %d pages, %d rating%s of each, %d in all: %.6g of money%s",
            *(len(pairs), len(asked.table), asked.table["page"].nunique(), each, "s" if each > 1 else "", n_ratings),
            *(n_ratings * wanted.price, ", first wave alone" if wanted.design == asking.ADAPTIVE else ""),
        )


def _gold(inputs: Inputs, pairs: pd.DataFrame, draws: pd.DataFrame, judged: Judges) -> pd.DataFrame:
    """Questions whose answer is known: from labels in files, else from presence that is certain."""
    params, n_gold = inputs.params, inputs.params.crowd.n_gold
    if params.crowd.source == asking.NOBODY:
        return pages.no_gold()
    said = read_said(inputs.args.gold, LABEL, inputs.images.columns["path"])
    if said.texts:
        return pages.gold_of_labels(pairs, said, inputs.probing, n_gold, params.seed)
    source = params.explanations.presence
    if judged.presence is None or source not in pages.CERTAIN:
        return pages.no_gold()
    return pages.gold_of_presence(pairs, draws, judged.presence, source, inputs.probing, n_gold, params.seed)
