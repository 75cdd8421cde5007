"""Texts of single units for the gallery: scores, what they predict beside what the unit does, and pictures that were rated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations import formulas
from interpretability.schema import NATURAL, UNIT
from study.report.figures.series import rows_of
from study.report.figures.texts import OURS, only_allowed
from study.report.page.listed_units import Listed, evenly
from study.report.page.packing import stepped, whole
from study.report.page.text_files import TextFiles

MOST_UNITS = 4000  # units whose texts the page holds
MOST_TEXTS = 12  # texts of a unit that it holds, the best first
N_TOP, N_SPACED = (
    40,
    160,
)  # pictures in a scatter: the most exciting ones, and others evenly spaced along the activation
MOST_RATED = 24  # rated pictures shown of a text
UnitKey = tuple[str, str, int]


@dataclass(frozen=True)
class UnitTexts:
    """The texts of listed units, by their row of the list: a row a text, the best first, with its scores.

    total: units of these networks with texts in the study; left: number of texts of a unit beyond those here, where there are.
    """

    files: TextFiles
    texts: Mapping[int, pd.DataFrame]
    total: int
    left: Mapping[int, int]

    def key(self, row: int) -> UnitKey:
        model, layer, unit = self.texts[row][UNIT].iloc[0]
        return str(model), str(layer), int(unit)


def texts_of_listed(listed: Listed, files: TextFiles) -> UnitTexts:
    """Texts of the units that are listed, natural tasks alone; networks alike where there are too many."""
    natural = listed.units[listed.units["condition"] == NATURAL]
    row_of = {key: int(row) for key, row in zip(_keys(natural), natural.index, strict=True)}
    scored = _scored(files)
    own = scored.assign(row=[row_of.get(key, -1) for key in _keys(scored)])
    texts = {int(part["row"].iloc[0]): part for _, part in own[own["row"] >= 0].groupby("row")}
    by_network: dict[str, list[int]] = {}
    for row, part in texts.items():
        by_network.setdefault(str(part["model"].iloc[0]), []).append(row)
    kept = sorted(_in_turns([rows for _, rows in sorted(by_network.items())])[:MOST_UNITS])
    total = len(scored.loc[scored["model"].isin(natural["model"]), UNIT].drop_duplicates())
    left = {row: len(texts[row]) - MOST_TEXTS for row in kept if len(texts[row]) > MOST_TEXTS}
    return UnitTexts(files, {row: texts[row].head(MOST_TEXTS).reset_index(drop=True) for row in kept}, total, left)


def _in_turns(groups: Sequence[Sequence[int]]) -> list[int]:
    return list(dict.fromkeys(row for turn in zip_longest(*groups) for row in turn if row is not None))


def _keys(units: pd.DataFrame) -> Iterable[UnitKey]:
    return units[UNIT].itertuples(index=False, name=None)


def _scored(files: TextFiles) -> pd.DataFrame:
    """Texts of units with all their scores, a row a text, the best of each unit first."""
    by = [*UNIT, "method", "text"]
    machine = files.automatic.rename(columns={"reason": "undefined"}).drop_duplicates(by)
    rows = files.texts.drop_duplicates(by).merge(machine.drop(columns="kind"), "left", on=by)
    crowd = only_allowed(files.crowd.rename(columns={"estimator": "score"})).drop_duplicates([*by, "score"])
    ours = crowd[crowd["score"] == OURS].rename(columns={"rho": "rated", "se": "rated_se", "reason": "unrated"})
    ours_columns = [*by, "rated", "rated_se", "low", "high", "status", "unrated", "n_ratings", "rho_true"]
    rows = rows.merge(ours[ours_columns], "left", on=by)
    guide = crowd[crowd["score"] == "guide_only"].rename(columns={"rho": "guide"})
    rows = rows.merge(guide[[*by, "guide"]], "left", on=by)
    rows["best"] = rows["rated"].fillna(rows["rho"]).astype(float)
    return rows.sort_values(
        [*UNIT, "best", "method", "text"], ascending=[True] * 3 + [False, True, True], kind="stable"
    )


def with_pictures(texts: UnitTexts, n_each: int) -> list[int]:
    """Rows of units whose texts are shown with pictures: of each network those said best and worst, in turns."""
    best = {row: float(rows["best"].iloc[0]) for row, rows in texts.texts.items()}
    by_network: dict[str, list[int]] = {}
    for row in sorted((row for row in best if best[row] == best[row]), key=lambda row: (-best[row], row)):
        by_network.setdefault(texts.key(row)[0], []).append(row)
    return _in_turns([ends for rows in by_network.values() for ends in (rows[:n_each], rows[::-1][:n_each])])


# row of a unit -> place of a text -> image, yes, n, posterior, of (how many pictures were rated)
Rated = dict[int, dict[int, pd.DataFrame]]


def rated_pictures(texts: UnitTexts, rows: Sequence[int], known: set[int], most: int) -> Rated:
    """What raters said of pictures of these units, the most exciting pictures first, at most MOST_RATED a text.

    Units come in turn, as long as their pictures and the `known` images are at most `most` different ones.
    """
    files, images = texts.files, set(known)
    pairs = {int(pair) for row in rows for pair in texts.texts[row]["pair"]}
    draws = files.draws[files.draws["pair"].isin(pairs)]
    drawn = {int(part["pair"].iloc[0]): np.unique(part["image"]) for _, part in draws.groupby("pair")}
    said = files.labels.set_index(["text", "image"])[["yes", "n"]]
    found = files.posteriors.set_index(["pair", "image"])["posterior"]
    rated: Rated = {}
    for row in rows:
        values = files.activations(texts.key(row))
        own: dict[int, pd.DataFrame] = {}
        for place, text in distinct(texts.texts[row]):
            if values is not None and text.pair in drawn:
                table = _said(drawn[text.pair], str(text.text), int(text.pair), said, found)
                own[place] = _most_exciting(table, values[files.places(table["image"].to_numpy())])
        more = images.union(*(table["image"].tolist() for table in own.values()))
        if any(len(table) for table in own.values()) and len(more) <= most:
            images, rated[row] = more, own
    return rated


def distinct(rows: pd.DataFrame) -> Iterator[tuple[int, Any]]:
    """Place and row of each text of a unit that says something else than those before it, whichever methods say it."""
    first = ~rows.duplicated(["kind", "text", "formula"])
    return ((place, row) for place, row in enumerate(rows.itertuples()) if first.iloc[place])


def images_of(rated: Rated) -> set[int]:
    """Every rated picture that is shown."""
    return {int(image) for own in rated.values() for table in own.values() for image in table["image"]}


def _said(images: NDArray[np.int64], text: str, pair: int, said: pd.DataFrame, found: pd.Series) -> pd.DataFrame:
    """Ratings of some images for a text, and the posterior of ours; images that nobody rated are left out."""
    table = said.reindex(pd.MultiIndex.from_product([[text], images])).assign(image=images)
    table["posterior"] = found.reindex(pd.MultiIndex.from_product([[pair], images])).to_numpy()
    table = table[table["n"].fillna(0) > 0].reset_index(drop=True)
    return table.assign(of=len(table))


def _most_exciting(table: pd.DataFrame, values: NDArray[np.float64]) -> pd.DataFrame:
    """Pictures by falling activation: all if they are few, else the most exciting half and others evenly spaced below."""
    order = np.lexsort((table["image"], -values))
    if len(order) > MOST_RATED:
        half = MOST_RATED // 2
        order = np.append(order[:half], order[half:][evenly(len(order) - half, MOST_RATED - half)])
    return table.iloc[order].reset_index(drop=True)


@dataclass(frozen=True)
class ShownTexts:
    """What the page shows of texts: their scores; scatters of the units `detailed`; rated pictures.

    presence: what says whether a picture shows a concept, in words; raters: what those who rated are called.
    """

    units: UnitTexts
    detailed: Sequence[int]
    rated: Rated
    presence: str
    raters: str


_LISTS = {"text": "words", "method": "methods", "kind": "kinds", "status": "statuses"}  # column -> its list on the page
FACTS = ("rho", "rho_se", "recall", "control_rho", "rated", "low", "high", "guide", "rho_true")


def as_content(shown: ShownTexts, number: Mapping[int, int]) -> dict[str, object]:
    """What the script of the page reads of texts; `number` says which thumbnail an image is.

    of: by row of a unit, its texts: places of words, method, kind and status in their lists, FACTS in whole millionths, number
    of ratings. points and rated: by row, then by the place of the text.
    """
    frames = shown.units.texts
    lists = {name: sorted({_plain(value) for frame in frames.values() for value in frame[name]}) for name in _LISTS}
    code = {name: {value: place for place, value in enumerate(values)} for name, values in lists.items()}

    def facts(text: Any) -> list[int | None]:
        named = [code[name][_plain(getattr(text, name))] for name in _LISTS]
        return [*named, *whole([getattr(text, fact) for fact in FACTS]), _count(text.n_ratings)]

    points = ((row, _points(shown.units, row)) for row in sorted(set(shown.detailed)))
    return {
        **{called: lists[name] for name, called in _LISTS.items()},
        "of": {str(row): [facts(text) for text in frame.itertuples()] for row, frame in frames.items()},
        "points": {str(row): own for row, own in points if own is not None},
        "rated": {
            str(row): {
                str(place): {"of": int(table["of"].iloc[0]), "shown": _pictures(table, number)}
                for place, table in own.items()
                if len(table)
            }
            for row, own in sorted(shown.rated.items())
        },
        "left": {str(row): n for row, n in shown.units.left.items()},
        "raters": shown.raters,
        "nImages": len(shown.units.files.images),
        "nTop": N_TOP,
        "predictedBy": shown.presence,
    }


def _pictures(table: pd.DataFrame, number: Mapping[int, int]) -> list[list[int | None]]:
    """Thumbnail, number of yes, number of ratings and posterior in percent of each rated picture."""
    return [[number[int(one.image)], int(one.yes), int(one.n), _count(100 * one.posterior)] for one in rows_of(table)]


def _count(value: float) -> int | None:
    return None if value != value else round(value)


def _plain(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _points(texts: UnitTexts, row: int) -> dict[str, object] | None:
    """Activations of a unit on some images, and what each of its texts predicts there; None where nothing is predicted."""
    values = texts.files.activations(texts.key(row))
    if values is None or not np.isfinite(values).all():
        return None
    order = np.argsort(-values, kind="stable")
    rest = order[N_TOP:]
    places = np.append(order[:N_TOP], rest[evenly(len(rest), N_SPACED)])
    predicted: dict[str, list[object]] = {}
    for place, text in distinct(texts.texts[row]):
        formula = formulas.parse(str(text.kind), str(text.text), _plain(text.formula))
        presence = texts.files.presence(formulas.concepts(formula), places)
        if presence is not None:
            predicted[str(place)] = stepped(formulas.predict(formula, presence))
    return {"values": stepped(values[places]), "of": predicted} if predicted else None
