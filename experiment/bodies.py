"""What requests may say, each checked strictly: no other keys, no text for a number, nothing infinite."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

_DAY = 86400.0

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{16,64}$")]
Trial = Annotated[int, Field(ge=0, le=100_000)]
Seconds = Annotated[float, Field(ge=0, le=30 * _DAY, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=0, le=100_000)]


class Body(BaseModel):
    """An object and nothing else in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Screen(Body):
    """Size of the screen in pixels of the page."""

    width: Pixels
    height: Pixels


class Begin(Body):
    """Somebody comes: from which platform, and what it calls them."""

    platform: Literal["direct", "prolific", "mturk"]
    person: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")] | None = None
    screen: Screen


class Consent(Body):
    agreed: bool


class Instructions(Body):
    """Seconds on the instructions by the browser's clock."""

    seconds: Seconds


class Nothing(Body):
    """An empty object."""


class Comment(Body):
    """A comment; line ends and tabs are allowed, other control characters are not."""

    text: Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]


class Answer(Body):
    """Button 0 to 2 for the upper picture, 3 to 5 for the lower; rt in milliseconds since the pictures were shown."""

    trial: Trial
    key: Key
    button: Annotated[int, Field(ge=0, le=5)]
    rt: Annotated[float, Field(ge=0, le=1000 * 30 * _DAY, allow_inf_nan=False)]


class Rating(Body):
    """Places of the ticked pictures, from 0; `none` says that nothing is to be ticked."""

    trial: Trial
    key: Key
    picked: Annotated[list[Annotated[int, Field(ge=0, le=99)]], Field(max_length=100)]
    none: bool
    seconds: Seconds

    @model_validator(mode="after")
    def _together(self) -> Self:
        if len(set(self.picked)) < len(self.picked):
            raise ValueError("picked names a picture twice")
        if bool(self.picked) == self.none:
            raise ValueError("tick pictures, or say that none shows it: one of the two")
        return self


class Token(Body):
    """The researcher's token."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=256)]
