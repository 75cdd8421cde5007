"""The error that a caller can put right."""

from __future__ import annotations


class InputError(ValueError):
    """Something about the arguments of a call. The message names the argument, its value and what is allowed."""
