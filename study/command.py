"""The frame of every command: its line, and one message for what the user can put right."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import interpretability
from interpretability.errors import InputError
from study import timing
from study.errors import message_of

CHECKOUT = Path(__file__).resolve().parents[1]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of command lines whose help is the docstring of the module, line by line."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def arguments(
    doc: str | None,
    argv: Sequence[str] | None,
    *,
    folders: Iterable[str] = (),
    defaults: Mapping[str, str | tuple[str, str]] | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    words: Mapping[str, Mapping[str, Any]] | None = None,
) -> argparse.Namespace:
    """The command line of an entry point or tool; `argv` is None for that of this process.

    folders   options that take a folder or file and must be given
    defaults  options that take a folder or file: which one without them, and where it needs saying what it is
    flags     all other options, with what `add_argument` takes besides the name
    words     what stands on the line without an option, described likewise
    """
    line = parser(doc)
    for name, options in (words or {}).items():
        line.add_argument(name, **options)
    for name in folders:
        line.add_argument(f"--{name}", type=Path, required=True)
    for name, default in (defaults or {}).items():
        path, meaning = (default, "") if isinstance(default, str) else default
        line.add_argument(f"--{name}", type=Path, default=Path(path), help=f"{meaning} (%(default)s)".strip())
    for name, options in (flags or {}).items():
        line.add_argument(f"--{name}", **options)
    return line.parse_args(argv)


def foreign_library() -> str | None:
    """What is wrong where the library was not imported from this checkout: an installed copy may compute something else."""
    folder = Path(interpretability.__file__).resolve().parent
    if folder.parent == CHECKOUT:
        return None
    return (
        f"`interpretability` was imported from {folder}, not from this checkout, {CHECKOUT}: another copy would compute "
        f"something else than the code here. Run the command in {CHECKOUT}, without PYTHONPATH, or remove the installed "
        "copy: pip uninstall machine-interpretability"
    )


def run(main: Callable[[], None]) -> None:
    """Run an entry point; what a user can put right and Ctrl-C end in one plain message and a non-zero exit."""
    if wrong := foreign_library():
        sys.exit(f"\nError: {wrong}")
    try:
        with timing.timed():
            main()
    except InputError as error:
        sys.exit(f"\nError: {message_of(error)}")
    except OSError as error:
        where = os.path.dirname(os.path.abspath(error.filename)) if error.filename else "the disk"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(
                f"\nError: no space left on the device while writing to {where}. Nothing half-written was kept. Free "
                "some space, or point MIS_STORE to a folder on a larger disk, and run the same command again: finished "
                "jobs are found in the store."
            )
        if error.errno in (errno.EROFS, errno.EACCES):
            sys.exit(
                f"\nError: {error.filename or 'a file'} cannot be opened or written ({error.strerror}). Make {where} "
                "readable and writable, or point MIS_STORE to a folder that is, and run the same command again."
            )
        if error.errno == errno.ENAMETOOLONG:
            sys.exit(
                f"\nError: {str(error.filename)[:100]}... is too long for the name of a file. Correct it where it stands."
            )
        raise
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Finished jobs are in the store; run the same command again to go on.")
