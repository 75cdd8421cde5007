"""Tar files, by the member."""

import io
import tarfile


def member(name, content=b"x", **fields):
    """A member: its header, with fields of `tarfile.TarInfo`, and its content."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(content)


def archive_of(path, *members, **options):
    """A tar file of members, each (name, content) or as `member` gives them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for info, file in members:
            archive.addfile(*((info, file) if isinstance(info, tarfile.TarInfo) else member(info, file)))
    return path
