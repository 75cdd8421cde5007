"""The frame of every command: one message for what the user can put right."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from interpretability.errors import InputError
from study import timing
from study.errors import told


def run(main: Callable[[], None]) -> None:
    """Run an entry point; what a user can put right and Ctrl-C end in one plain message and a non-zero exit."""
    try:
        with timing.timed():
            main()
    except InputError as error:
        sys.exit(f"\nError: {told(error)}")
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
        raise
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Finished jobs are in the store; run the same command again to go on.")
