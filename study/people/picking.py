"""The folder of pages on which people pick one thing about a unit: a cell of a picture, or one of some texts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.randomness import generator
from interpretability.schema import NATURAL
from interpretability.synthetic import observers
from study.errors import StudyError
from study.files.tables import read_json
from study.images.manifest import open_images
from study.log import logger
from study.params.whole import Params
from study.people import questions
from study.people.export_options import names
from study.people.page_options import PageOptions, add_page_arguments, given
from study.people.pictures import write_pictures
from study.people.studied import Built

log = logger("picking pages")

_LEAST = {"units": 1, "queries": 2, "explanations": 1, "texts": 2, "raters": 1}


@dataclass(frozen=True, kw_only=True)
class PickOptions(PageOptions):
    """What is asked, beside where the study lies and how its pages are written.

    kind          localize: in which cell of a new picture the unit is most active; name: which of some texts describes it
    models        roster names of networks; empty: all studied ones, if they are few
    units         of a network, drawn layer first
    queries       new pictures of a unit (localize), each a page of its own
    texts         of a page (name), the unit's own and those of other units of its layer
    method        whose texts are asked about (name)
    explanations  pictures shown of a unit; None: as many as tasks show
    raters        answers wanted to each page
    """

    kind: str = questions.LOCALIZE
    models: tuple[str, ...] = ()
    units: int = 20
    queries: int = 6
    texts: int = 4
    method: str = ""
    explanations: int | None = None
    raters: int = 10

    def problems(self) -> Iterator[str]:
        """Every value that no study allows."""
        if self.kind not in questions.PICKING:
            yield f"--kind is {self.kind}; it must be one of {', '.join(questions.PICKING)}"
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                yield f"--{name} is {value}; it must be at least {least}"
        if self.kind == questions.NAME and not self.method:
            yield "--method is empty; name the method whose texts are to be asked about"
        if self.kind != questions.NAME and self.method:
            yield f"--method is {self.method}, but --kind is {self.kind}, which shows no texts; leave it out"
        yield from super().problems()


@dataclass(frozen=True)
class Page:
    """What one page asks: pictures by number of image, of a cell the last one; `side` and `texts` as in pages.json."""

    unit: tuple[str, str, int]
    task: int
    images: tuple[int, ...]
    side: int
    texts: tuple[str, ...]
    answer: int


def n_explanations(options: PickOptions) -> int:
    """Pictures shown of a unit. Raises StudyError for more than the study's tasks show."""
    most = read_json(options.data / "tasks/summary.json")["n_explanations"]
    if options.explanations is not None and options.explanations > most:
        raise StudyError(
            f"--explanations is {options.explanations}; allowed are 1 to {most}, those of the study's tasks"
        )
    return options.explanations or most


def drawn(built: Built, table: pd.DataFrame, n_units: int, seed: int, *, exact: bool = True) -> pd.DataFrame:
    """Units of a network to ask about, among `table` (layer, unit), with the `row` of their natural tasks.

    Layer first, as in IMI; of units with the same tasks the first alone (a norm repeats the layer before it).
    `exact`: refuse to give fewer.
    """
    places = built.places(table.assign(model=built.model), NATURAL)
    table = table.assign(row=places)[places >= 0].reset_index(drop=True)
    shown = pd.Series([built.tasks[row].tobytes() for row in table["row"]], dtype=object)
    table = table[~shown.duplicated()].reset_index(drop=True)
    if n_units > len(table) and exact:
        raise StudyError(
            f"--units is {n_units}, but {built.model} has {len(table)} units that can be asked about; ask about fewer"
        )
    return table.iloc[observers.choose_units(table["layer"], min(n_units, len(table)), seed, built.model)].reset_index(
        drop=True
    )


def write_picks(options: PickOptions, params: Params, pages: Sequence[Page], more: Mapping[str, Any]) -> None:
    """Write the folder: pages in an order that tells nothing of their units; `more`: what study.json says beside the usual.

    Raises StudyError where there is no page.
    """
    if not pages:
        raise StudyError(f"nothing can be asked: no unit has a page of kind {options.kind}")
    encoding = options.encoding(params.seed)
    order = generator(params.seed, "picking pages", options.kind).permutation(len(pages))
    rows = [
        {
            "page": number,
            **dict(zip(("model", "layer", "unit"), page.unit, strict=True)),
            "task": page.task,
            "pictures": [encoding.file(image) for image in page.images],
            "side": page.side,
            "texts": list(page.texts),
            "answer": page.answer,
        }
        for number, page in enumerate((pages[at] for at in order), start=1)
    ]
    with questions.new_folder(options.out) as folder:
        questions.write_rows(folder / "pages.json", "pages", rows)
        images = open_images(options.data / "images", params.images.root)
        write_pictures(folder, images, [image for page in pages for image in page.images], encoding)
        questions.write_manifest(folder, {**_manifest(options, params), **more, "n_pages": len(rows)})
    log.info("%s: %d pages of %d units", options.out, len(pages), len({page.unit for page in pages}))


def _manifest(options: PickOptions, params: Params) -> dict[str, Any]:
    return {
        "kind": options.kind,
        "seed": params.seed,
        "raters": options.raters,
        "generated_pictures": params.images.source == "generated",
        "pictures": options.pictures(),
    }


def shuffled(own: str, others: Sequence[str], draw: np.random.Generator) -> tuple[tuple[str, ...], int]:
    """Texts in random order, and the place of the unit's own among them."""
    texts = [own, *others]
    order: NDArray[np.int64] = draw.permutation(len(texts))
    return tuple(texts[at] for at in order), int(np.flatnonzero(order == 0)[0])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options but --out, with their defaults."""
    more, usual = parser.add_argument, PickOptions(out=Path())
    more("--kind", choices=questions.PICKING, default=usual.kind, help="cells of a picture, or texts (%(default)s)")
    more("--models", type=names, default=(), metavar="NAME,..", help="networks (all studied ones)")
    more("--units", type=int, default=usual.units, help="of a network (%(default)s)")
    more("--queries", type=int, default=usual.queries, help="localize: new pictures of a unit (%(default)s)")
    more("--texts", type=int, default=usual.texts, help="name: texts of a page (%(default)s)")
    more("--method", default="", help="name: whose texts are asked about")
    more("--explanations", type=int, help="pictures shown of a unit (as many as tasks show)")
    more("--raters", type=int, default=usual.raters, help="answers wanted to each page (%(default)s)")
    add_page_arguments(parser)


def options_of(args: argparse.Namespace, **changes: Any) -> PickOptions:
    """Options from a parsed command line that `add_arguments` described; `changes` go first."""
    return given(PickOptions, args, **changes)
