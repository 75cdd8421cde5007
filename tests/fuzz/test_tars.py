"""Tar files of any names, kinds and contents, and whole ones that were damaged: each is listed to its end, or refused."""

import io
import tarfile

import pytest
from hypothesis import strategies as st

from study.images.finding import inspect_file
from study.images.sources import Source
from tests.helpers.archives import member
from tests.helpers.fuzzing import attempt, fuzzed
from tests.helpers.pngs import GREY, png

PICTURE = png([b"\0\1\2"], 8, GREY)


def archive(members, kind=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as packed:
        for info, content in members:
            content.seek(0)
            packed.addfile(info, content)
    return buffer.getvalue()


INNER = archive([member("x.png", PICTURE), member("x.cls", b"cat")])
WHOLE = [
    archive(
        [member("a/1.png", PICTURE), member("a/1.cls", b"3"), member("b/photo 1.5 a.png", PICTURE), member("n.txt")],
        kind,
    )
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
]
WHOLE += [
    archive(
        [member("n0123.tar", INNER), member("é" * 90 + ".png", PICTURE), member("b.png", b"", type=tarfile.SYMTYPE)],
        kind,
    )
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
]
# places of the fields of a header
FIELDS = {
    "name": (0, 100),
    "size": (124, 12),
    "sum": (148, 8),
    "kind": (156, 1),
    "magic": (257, 8),
    "prefix": (345, 155),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tars") / "0.tar"


def tried(reader, path, content):
    """The members of a tar file, each inspected as the stage of images does it; where it lies is within the file."""
    path.write_bytes(content)
    source = Source("tar", path)
    members = attempt(reader, source.members)
    for each in members or []:
        found = inspect_file(source, each)
        assert found.path.encode()
        assert found.reason or 0 < each.place < each.place + each.size <= len(content)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    """Files are opened anew: each input is another one at the same place."""
    monkeypatch.setattr("study.images.tars._HELD_OPEN", 0)


@fuzzed(
    st.integers(0, len(WHOLE) - 1),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([None, None, 0, 9, 512]), st.binary(max_size=12)), max_size=3),
    st.sampled_from([None, None, None, 0.2, 0.6, 0.95]),
)
def test_damaged_bytes(path, index, patches, cut):
    content = WHOLE[index]
    for where, gone, patch in patches:
        place = int(where * len(content))
        content = content[:place] + patch + content[place + (len(patch) if gone is None else gone) :]
    tried("tar files, damaged bytes", path, content[: None if cut is None else int(cut * len(content))])


@fuzzed(
    st.integers(0, len(WHOLE) - 1),
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(sorted(FIELDS)), st.binary(max_size=20)), min_size=1, max_size=3
    ),
)
def test_damaged_headers_with_their_sums(path, index, changes):
    content = bytearray(WHOLE[index])
    for block, field, patch in changes:
        start = block * 512 % len(content)
        place, length = FIELDS[field]
        patch = patch[:length]
        content[start + place : start + place + len(patch)] = patch
        header = content[start : start + 512]
        header[148:156] = b" " * 8
        if field != "sum":
            content[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    tried("tar files, damaged headers", path, bytes(content))


NAMES = st.text(max_size=30) | st.sampled_from(
    [
        "x.png",
        "x.cls",
        "x.1.png",
        "x.1.cls",
        "../x.png",
        "/x.png",
        "a/../x.png",
        "x.tar",
        "./x",
        "x" * 300 + ".png",
        ".x.png",
        "x\0.png",
        "",
    ]
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 6 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, b"7", b"Z"]
)
CONTENTS = st.sampled_from([PICTURE, INNER, b"", b"3", PICTURE[:30]]) | st.binary(max_size=40)


@fuzzed(
    st.lists(
        st.tuples(NAMES, KINDS, CONTENTS, st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=2)),
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_any_members(path, members, kind):
    given = [
        member(
            name,
            content if type_ in (tarfile.REGTYPE, b"7", b"Z") else b"",
            type=type_,
            pax_headers=headers,
            linkname="x",
        )
        for name, type_, content, headers in members
    ]
    try:
        content = archive(given, kind)
    except (ValueError, UnicodeError):  # what cannot be written needs no reading
        return
    tried("tar files, any members", path, content)


@fuzzed(st.binary(max_size=1600))
def test_any_bytes(path, content):
    tried("tar files, any bytes", path, content)
