"""What a user says about a foreign file that the file itself does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.errors import StudyError


class Options:
    """Values of options by name, None where not given. A converter takes those that it looks at; others may not be given."""

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._given = {name: value for name, value in (given or {}).items() if value is not None}
        self._taken: set[str] = set()

    def take(self, name: str) -> Any:
        """The value of an option, None if it is not given."""
        self._taken.add(name)
        return self._given.get(name)

    def refuse_unused(self, where: str) -> None:
        """Raise StudyError for an option that nothing looked at: whoever gave it expects it to do something."""
        for name in self._given:
            if name not in self._taken:
                raise StudyError(
                    f"{where}: {shown_option(name)} says nothing about this file, because the file or its kind leaves no "
                    "such choice; leave it out"
                )


def shown_option(name: str) -> str:
    """An option as it stands on the command line."""
    return f"--{name.replace('_', '-')}"
