"""What a researcher sets for one run: settings.yaml, checked as a whole before anything is served."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from study.errors import StudyError
from study.params.reading import content_of

DEFAULTS = Path(__file__).parent / "defaults"
TWO_ALTERNATIVE, RATINGS, LOCALIZE, NAME = KINDS = ("two-alternative", "ratings", "localize", "name")
PICKING = LOCALIZE, NAME  # one cell of a picture, or one text
PAGED = RATINGS, *PICKING  # pages instead of trials with practice: sessions count whole or in part
GRACE = 600.0  # seconds without a sign of life beyond the longest session that would count
_TEXT = 200
_LINK = re.compile(r"https?://[^\s<>\"']+")


def _link(value: str) -> str:
    if value and not _LINK.fullmatch(value):
        raise ValueError("must be empty or begin with https:// or http:// and hold no space, quote or angle bracket")
    return value


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_LINE, _CURRENCY, _CODE = r"^[^\x00-\x1f\x7f]*$", r"^[A-Z]{3}$", r"^[A-Za-z0-9-]*$"
_LANGUAGE = r"^[a-z]{2,3}(-[A-Z]{2})?$"
Line = Annotated[str, Field(max_length=_TEXT, pattern=_LINE)]


# what a pattern allows, for people
_WORDS = {
    _LINE: "must be one line",
    _CURRENCY: "must be three capital letters, such as USD",
    _CODE: "must hold only letters, digits and -",
    _LANGUAGE: "must be the code of a language, such as en or de-CH",
}


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Pay(_Model):
    """What a participant gets for a session, whatever the checks say (IMI section 3.1), and the platform's fee on top of it."""

    amount: NotNegative = 2.79
    currency: Annotated[str, Field(pattern=_CURRENCY)] = "USD"
    platform_share: NotNegative = 0.0


class Complete(_Model):
    """What a participant takes along: one code for all, or a random one for each where it is empty; and a link back to the
    platform, in which `{code}` stands for the code."""

    code: Annotated[str, Field(max_length=40, pattern=_CODE)] = ""
    link: Annotated[str, AfterValidator(_link)] = ""


class Checks(_Model):
    """Which sessions count: `human.checks` of params.yaml, and IMI appendix A.3."""

    max_demo_blocks: Annotated[int, Field(ge=1, le=20)] = 3
    min_catch_share: Share = 0.8
    min_seconds: NotNegative = 135.0
    max_seconds: Positive = 2500.0
    min_row: Annotated[int, Field(ge=0)] = 5
    min_instruction_seconds: NotNegative = 15.0
    multi_participation: Literal["recomputed", "stored", "ignore"] = "recomputed"


class Settings(_Model):
    """All settings of a run; the comments of settings.yaml say what each is for.

    Departure: none by default; `feedback: practice` shows in the main trials less than IMI showed.
    """

    title: Annotated[Line, Field(min_length=1)] = "Which picture fits?"
    language: Annotated[str, Field(pattern=_LANGUAGE)] = "en"
    minutes: Positive = 11.0
    feedback: Literal["all", "practice"] = "all"
    wait_seconds: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 1.5
    practice_block: Annotated[int, Field(ge=1, le=50)] = 5
    practice_obvious: Annotated[int, Field(ge=0, le=50)] = 4
    catch_trials: Annotated[int, Field(ge=0, le=50)] = 5
    pages_a_session: Annotated[int, Field(ge=1, le=200)] = 12
    repeat: Literal["refuse", "mark"] = "refuse"
    narrow: Literal["stack", "refuse"] = "stack"
    comment: bool = True
    contact: Line = ""
    pay: Pay = Pay()
    complete: Complete = Complete()
    wanted_width: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.1
    checks: Checks = Checks()

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.practice_obvious > self.practice_block:
            raise ValueError(
                f"practice_obvious is {self.practice_obvious}, more than practice_block, which is {self.practice_block}"
            )
        if self.checks.min_seconds > self.checks.max_seconds:
            raise ValueError("checks.min_seconds is more than checks.max_seconds")
        return self

    @property
    def silence(self) -> float:
        """Seconds without a sign of life after which a session is over: who is slower is refused anyway."""
        return self.checks.max_seconds + GRACE


def read_settings(path: Path) -> Settings:
    """Settings of a file. Raises StudyError with every problem: its key, its value and what is allowed."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. `python -m experiment prepare` writes one into a new run folder")
    content = content_of(path)
    if not isinstance(content, dict):
        raise StudyError(f"{path} holds no keys; it must be settings such as `title: ...`")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise StudyError(f"{path}: " + "; ".join(problems(error, _keys(Settings)))) from None


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all settings."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.default
        names += _keys(type(inner), f"{prefix}{name}.") if isinstance(inner, BaseModel) else [prefix + name]
    return names


def problems(error: ValidationError, keys: Sequence[str] = ()) -> list[str]:
    """What pydantic refused, one line a key: where, why, and the value where it is short and plain. For one that is none of
    `keys`, the nearest of them."""
    lines: list[str] = []
    for each in error.errors(include_url=False):
        where = ".".join(str(part) for part in each["loc"]) or "the whole"
        value = each["input"]
        if each["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, keys, n=1)
            allowed = f"; is {near[0]} meant?" if near else f"; there are {', '.join(keys)}" if keys else ""
            lines.append(f"{where}: no such key{allowed}")
            continue
        plain = isinstance(value, str | int | float | bool) and len(repr(value)) <= 80
        given = f", not {value!r}" if plain else ""
        words = _WORDS.get(each.get("ctx", {}).get("pattern", ""), each["msg"].removeprefix("Value error, "))
        lines.append(f"{where}: {words}{given}")
    return lines


def template(kind: str, values: Mapping[str, Any]) -> str:
    """The text of a new settings.yaml: our comments and defaults, with `values` by dotted key."""
    kept = RATINGS if kind in PAGED else kind
    lines = (DEFAULTS / f"settings-{kept}.yaml").read_text(encoding="utf-8").splitlines()
    path: list[str] = []
    open_values = dict(values)
    for place, line in enumerate(lines):
        if found := re.match(r"^( *)([a-z_]+):( *)([^#]*?)( *)(#.*)?$", line):
            indent, key, _, _, _, comment = found.groups()
            path = [*path[: len(indent) // 2], key]
            name = ".".join(path)
            if name in open_values:
                text = f"{indent}{key}: {_scalar(open_values.pop(name))}"
                lines[place] = f"{text:<37} {comment}" if comment else text
    if open_values:
        raise ValueError(f"the template has no key {', '.join(open_values)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
