"""Errors that people read: shown as one message, without a traceback."""

from __future__ import annotations

from interpretability.errors import InputError


class StudyError(InputError):
    """Something the user can put right. The message names the file, key or row, the value and what is allowed."""


class ChangedInput(StudyError):
    """Images are not those of the manifest: no property of one network, so the whole stage stops."""
