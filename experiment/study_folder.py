"""The folder of questions or rating pages that an export wrote, checked and ready to be asked from.

What the files hold is described in docs/psychophysics.md. Everything here is the researcher's side: keys with right answers and
units are in it, and the server sends none of that to anybody.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from experiment.settings import LOCALIZE, PAGED, PICKING, TWO_ALTERNATIVE, problems
from interpretability.files import sha256_file
from study.errors import StudyError

SCHEMA = 2
MAIN, PRACTICE, CATCH = "main", "practice", "catch"
_FILE = r"^images/[0-9a-f]{16}\.(png|jpg|webp)$"
_DIGEST = re.compile(r"[0-9a-f]{64}")

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
File = Annotated[str, StringConstraints(pattern=_FILE)]
Id = Annotated[str, StringConstraints(pattern=r"^[a-z][0-9]{1,9}$")]
Choice = Literal["top", "bottom"]
Key = tuple[str, str, int, str]  # model, layer, unit, condition


@dataclass(frozen=True, slots=True)
class Question:
    """Two queries between two blocks of explanations. left and right: their files, weak and strong activation; empty where
    queries are asked alone. answer: the query that excites the unit more, `top` or `bottom`."""

    name: str
    kind: str  # main, practice or catch
    experiment: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    top: str
    bottom: str
    answer: str
    obvious: bool
    unit: Key | None
    task: int

    @property
    def files(self) -> tuple[str, ...]:
        """All pictures that it shows, in the order of the page."""
        return (*self.left, self.top, self.bottom, *self.right)


@dataclass(frozen=True, slots=True)
class Pick:
    """What is picked on a page that asks about one unit: a cell of its last picture, cut into `side` x `side`, or one of `texts`.

    answer   number of the right one, from 0; cells row by row
    """

    unit: Key
    task: int
    side: int
    texts: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of pictures, of which people pick those that show a text; or, with `pick`, on which they pick one thing."""

    page: int
    text: str
    pictures: tuple[str, ...]
    pick: Pick | None = None

    @property
    def n_choices(self) -> int:
        """How many things there are to pick from."""
        return len(self.pictures) if self.pick is None else len(self.pick.texts) or self.pick.side**2

    @property
    def choices(self) -> str:
        """What these things are called."""
        return "pictures" if self.pick is None else "texts" if self.pick.texts else "cells"


@dataclass(frozen=True, slots=True)
class Listed:
    """A session planned by the export: names of its main questions, in their order."""

    session: str
    experiment: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file: size in bytes, digest, and size in pixels."""

    bytes: int
    sha256: str
    width: int
    height: int
    path: Path


@dataclass(frozen=True)
class Folder:
    """An export as it lies on the disk. `questions` by name, of all kinds; `pictures` by file as questions name them."""

    path: Path
    kind: str
    study: Mapping[str, Any]
    digest: str
    questions: Mapping[str, Question]
    sessions: Sequence[Listed]
    pages: Mapping[int, Page]
    pictures: Mapping[str, Picture]

    @classmethod
    def read(cls, path: Path, *, look_at_pictures: bool = False) -> Folder:
        """The folder at `path`.

        Every file must have the digest that study.json names, every picture the size of images.csv; with `look_at_pictures`
        also its digest, which the server otherwise compares when it first sends a picture. Raises StudyError naming the
        file and what is wrong with it.
        """
        study = _study(path)
        pictures = _pictures(path, look_at_pictures)
        if study["kind"] == TWO_ALTERNATIVE:
            questions = _questions(path)
            sessions, pages = _sessions(path, questions), {}
        else:
            questions, sessions, pages = {}, [], (_picks if study["kind"] in PICKING else _pages)(path, study["kind"])
        shown = {file for question in questions.values() for file in question.files}
        shown |= {file for page in pages.values() for file in page.pictures}
        if missing := sorted(shown - pictures.keys()):
            raise _wrong(path / "images.csv", f"has no row for {missing[0]}, which is shown")
        if not shown:
            raise _wrong(path / "study.json", "describes a folder that asks nothing")
        digest = sha256_file(path / "study.json")
        return cls(path, study["kind"], study, digest, questions, sessions, pages, pictures)

    @property
    def seed(self) -> int:
        """Key of all draws of the run: that of the study, or one made of the digest of its pages."""
        return self.study["seed"] if self.kind == TWO_ALTERNATIVE else int(self.digest[:12], 16)

    def experiments(self) -> list[str]:
        """Names of the experiments, in the order of study.json; rating pages are one."""
        if self.kind in PAGED:
            return [self.kind]
        return [each["experiment"] for each in self.study["experiments"]]

    def of(self, experiment: str, kind: str) -> list[Question]:
        """Questions of one experiment and kind, in the order of the file."""
        return [each for each in self.questions.values() if each.experiment == experiment and each.kind == kind]


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Asked(_Row):
    question: Id
    left: list[File]
    right: list[File]
    top: File
    bottom: File
    answer: Choice
    task: int


class _Unit(_Row):
    experiment: Name
    model: Name
    layer: Name
    unit: int
    condition: Name
    tasks: list[_Asked]


class _Extra(_Asked):
    experiment: Name
    obvious: bool
    model: Name
    layer: Name
    unit: int
    condition: Name


class _Listed(_Row):
    session: Id
    experiment: Name
    questions: Annotated[list[Id], Field(min_length=1)]


class _PageRow(_Row):
    page: Annotated[int, Field(ge=1)]
    text: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    pictures: Annotated[list[File], Field(min_length=1, max_length=100)]


class _PickRow(_Row):
    page: Annotated[int, Field(ge=1)]
    model: Name
    layer: Name
    unit: int
    task: Annotated[int, Field(ge=0)]
    pictures: Annotated[list[File], Field(min_length=1, max_length=100)]
    side: Annotated[int, Field(ge=0, le=10)]
    texts: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=500)]], Field(max_length=20)]
    answer: Annotated[int, Field(ge=0)]


class _File(_Row):
    schema_: Literal[2] = Field(alias="schema")


class _Units(_File):
    units: list[_Unit]


class _Practice(_File):
    practice: list[_Extra]


class _Catch(_File):
    catch: list[_Extra]


class _Sessions(_File):
    sessions: list[_Listed]


class _Pages(_File):
    pages: list[_PageRow]


class _Picks(_File):
    pages: list[_PickRow]


class _Experiment(_Row):
    experiment: Name
    model: Name
    condition: Name
    n_explanations: Annotated[int, Field(ge=0)]


class _Study(_File):
    kind: Literal["two-alternative", "ratings", "localize", "name"]
    files: dict[str, str]


class _TwoAlternative(_Study):
    seed: Annotated[int, Field(ge=0)]
    responses_a_unit: Annotated[int, Field(ge=1)]
    trials_a_session: Annotated[int, Field(ge=1)]
    experiments: Annotated[list[_Experiment], Field(min_length=1)]
    checks: dict[str, Any]


class _Picking(_Study):
    raters: Annotated[int, Field(ge=1)]


class _Ratings(_Study):
    study: str
    raters: Annotated[int, Field(ge=1)]
    price: Annotated[float, Field(ge=0)]


M = TypeVar("M", bound=BaseModel)


def _wrong(file: Path, what: str) -> StudyError:
    return StudyError(f"{file} {what}. Take the folder as it was exported, or export it again")


def _read(file: Path, model: type[M]) -> M:
    try:
        return model.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise _wrong(file, "is missing") from None
    except ValidationError as error:
        told = problems(error)
        more = f" (and {len(told) - 3} more)" if len(told) > 3 else ""
        raise _wrong(file, f"is not as the export writes it: {'; '.join(told[:3])}{more}") from None


def _study(path: Path) -> dict[str, Any]:
    file = path / "study.json"
    if not file.is_file():
        raise StudyError(
            f"{file}: no such file. `python -m tools.psychophysics export --out FOLDER` and `python -m tools.rating_pages "
            "--out FOLDER` write folders that can be asked from"
        )
    head = _read(file, _Study)
    _read(file, _TwoAlternative if head.kind == TWO_ALTERNATIVE else _Picking if head.kind in PICKING else _Ratings)
    needed = ("units", "practice", "catch", "sessions") if head.kind == TWO_ALTERNATIVE else ("pages",)
    for name in sorted({f"{each}.json" for each in needed} | {"images.csv"} | head.files.keys()):
        listed = path / name
        if "/" in name or not _DIGEST.fullmatch(head.files.get(name, "")):
            raise _wrong(file, f"names no digest of {name}")
        if not listed.is_file():
            raise _wrong(listed, "is missing")
        if sha256_file(listed) != head.files[name]:
            raise _wrong(listed, "is not the file that study.json describes")
    return json.loads(file.read_bytes())


def _questions(path: Path) -> dict[str, Question]:
    rows = [
        _question(task, MAIN, unit.experiment, (unit.model, unit.layer, unit.unit, unit.condition), False)
        for unit in _read(path / "units.json", _Units).units
        for task in unit.tasks
    ]
    extra = [(PRACTICE, each) for each in _read(path / "practice.json", _Practice).practice]
    extra += [(CATCH, each) for each in _read(path / "catch.json", _Catch).catch]
    rows += [
        _question(each, kind, each.experiment, (each.model, each.layer, each.unit, each.condition), each.obvious)
        for kind, each in extra
    ]
    questions = {row.name: row for row in rows}
    if len(questions) < len(rows):
        names = [row.name for row in rows]
        twice = next(name for name in names if names.count(name) > 1)
        raise _wrong(path / "units.json", f"and the files beside it name question {twice} twice")
    return questions


def _question(row: _Asked, kind: str, experiment: str, unit: Key, obvious: bool) -> Question:
    left, right = tuple(row.left), tuple(row.right)
    return Question(
        row.question, kind, experiment, left, right, row.top, row.bottom, row.answer, obvious, unit, row.task
    )


def _sessions(path: Path, questions: Mapping[str, Question]) -> list[Listed]:
    file = path / "sessions.json"
    listed = [Listed(row.session, row.experiment, tuple(row.questions)) for row in _read(file, _Sessions).sessions]
    for each in listed:
        for name in each.questions:
            question = questions.get(name)
            if question is None or question.kind != MAIN or question.experiment != each.experiment:
                raise _wrong(file, f"asks {name} in {each.session}, which is no main question of {each.experiment}")
    return listed


def _picks(path: Path, kind: str) -> dict[int, Page]:
    """Pages of one thing to pick: of cells where kind is localize, of texts where it is name."""
    file = path / "pages.json"
    pages: dict[int, Page] = {}
    for row in _read(file, _Picks).pages:
        where, places = f"on page {row.page}", kind == LOCALIZE
        if row.page in pages:
            raise _wrong(file, f"has page {row.page} twice")
        if places and (row.side < 2 or row.texts):
            raise _wrong(file, f"must have side of 2 or more, and no texts, {where}")
        if not places and (row.side or len(row.texts) < 2):
            raise _wrong(file, f"must have 2 texts or more, and side 0, {where}")
        if len(set(row.texts)) < len(row.texts) or len(set(row.pictures)) < len(row.pictures):
            raise _wrong(file, f"shows a text or picture twice {where}")
        if places and len(row.pictures) < 2:
            raise _wrong(file, f"has no picture beside examples {where}")
        pick = Pick((row.model, row.layer, row.unit, kind), row.task, row.side, tuple(row.texts), row.answer)
        page = pages[row.page] = Page(row.page, "", tuple(row.pictures), pick)
        if row.answer >= page.n_choices:
            raise _wrong(file, f"has answer {row.answer} {where}; allowed are 0 to {page.n_choices - 1}")
    return pages


def _pages(path: Path, kind: str) -> dict[int, Page]:
    file = path / "pages.json"
    rows = _read(file, _Pages).pages
    pages = {row.page: Page(row.page, row.text, tuple(row.pictures)) for row in rows}
    if len(pages) < len(rows):
        raise _wrong(file, "has a page twice")
    for page in pages.values():
        if len(set(page.pictures)) < len(page.pictures):
            raise _wrong(file, f"shows a picture twice on page {page.page}")
    return pages


def _pictures(path: Path, look: bool) -> dict[str, Picture]:
    table = path / "images.csv"
    pictures: dict[str, Picture] = {}
    try:
        with open(table, encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, strict=True):
                file = row["file"]
                if not re.fullmatch(_FILE, file) or not _DIGEST.fullmatch(row["sha256"]):
                    raise _wrong(table, f"has {file!r} with the digest {row['sha256']!r}")
                size = (int(row["width"]), int(row["height"]))
                pictures[file] = Picture(int(row["bytes"]), row["sha256"], *size, path / file)
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise _wrong(table, f"is no table of pictures ({error})") from None
    for picture in pictures.values():
        try:
            size = picture.path.stat().st_size
        except FileNotFoundError:
            raise _wrong(picture.path, "is missing") from None
        if size != picture.bytes:
            raise _wrong(picture.path, f"has {size} bytes; images.csv says {picture.bytes}")
        if look:
            checked(picture)
    return pictures


def checked(picture: Picture) -> bytes:
    """The bytes of a picture. Raises StudyError where they are not those that images.csv names."""
    data = picture.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise _wrong(picture.path, "is not the picture that images.csv describes")
    return data
