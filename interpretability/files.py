"""Files that appear whole or not at all, and digests of files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], mode: int = 0o644) -> Generator[Path, None, None]:
    """Temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not.

    Raises OSError with ENOSPC and the name of the target for a full disk, however the writing library reports it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, mode)
        os.replace(name, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        if _disk_is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise


def _disk_is_full(error: BaseException) -> bool:
    """Whether a failed write means a full disk: numpy leaves the number out, safetensors raises a kind of its own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return bool(re.search(rf"os error {errno.ENOSPC}\b|\d+ requested and \d+ written", str(error)))


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
