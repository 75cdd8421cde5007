"""What tar files may hold: each picture is listed once with its own label, or with the reason why it is none."""

import bz2
import gzip
import io
import logging
import lzma
import os
import tarfile
import threading

import pytest

from study.errors import StudyError
from study.images import tars
from study.images.sources import Source, shards
from tests.helpers.archives import archive_of, member


def listed(path):
    return {each.path: each for each in Source("tar", path).members()}


def labels(path):
    return {name: each.label for name, each in listed(path).items()}


@pytest.fixture
def told(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("stages"), "propagate", True)
    return caplog


# Names in an archive, .cls files with what they hold; then the labels of what is listed.
NAMES = {
    "periods in names": (
        {"photo 1.5 a.png": "", "photo 1.5 a.cls": "cat", "photo 1.5 b.png": "", "photo 1.5 b.cls": "dog"},
        {"photo 1.5 a.png": "cat", "photo 1.5 b.png": "dog"},
    ),
    "one name": ({"x.png": "", "x.cls": "cat", "x.json": ""}, {"x.png": "cat"}),
    "other parts of a name": ({"x.seg.png": "", "x.cls": "cat", "x.json": ""}, {"x.seg.png": "cat"}),
    "the label is that of a nearer name": (
        {"x.png": "", "x.seg.png": "", "x.cls": "cat"},
        {"x.png": "cat", "x.seg.png": ""},
    ),
    "each its own": (
        {"x.png": "", "x.seg.png": "", "x.cls": "cat", "x.seg.cls": "mask"},
        {"x.png": "cat", "x.seg.png": "mask"},
    ),
    "one label for two": (
        {"photo 1.5 a.png": "", "photo 1.5 b.png": "", "photo 1.cls": "cat", "c.png": "", "c.cls": "dog"},
        {"photo 1.5 a.png": "", "photo 1.5 b.png": "", "photo 1.cls": "", "c.png": "dog"},
    ),
    "periods in folders": (
        {"a.b/c.png": "", "a.cls": "no", "a.b.cls": "no"},
        {"a.b/c.png": "a.b", "a.cls": "", "a.b.cls": ""},
    ),
    "folders apart": ({"a/x.png": "", "b/x.png": "", "b/x.cls": "dog"}, {"a/x.png": "a", "b/x.png": "dog"}),
    "an empty label": ({"a/x.png": "", "a/x.cls": " "}, {"a/x.png": "a"}),
    "upper case": ({"X.PNG": "", "X.CLS": "cat"}, {"X.PNG": "cat"}),
    "captions": ({"x.png": "", "x.png.json": "", "x.en.txt": "", "y.txt": ""}, {"x.png": "", "y.txt": ""}),
    "no ending": ({"x.png": "", "README": "", "a/.png": ""}, {"x.png": "", "README": ""}),
}


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_those_of_the_picture_s_own_name(tmp_path, name, told):
    given, wanted = NAMES[name]
    path = archive_of(tmp_path / "0.tar", *((each, content.encode()) for each, content in given.items()))
    assert labels(path) == wanted
    unclear = {"the label is that of a nearer name": 1, "one label for two": 2}.get(name)
    assert (f"{unclear} pictures do not get the label" in told.text) == bool(unclear)
    assert ("in 0.tar, beside" in told.text) == bool(unclear)


def test_labels_are_those_of_one_archive(tmp_path):
    archive_of(tmp_path / "0.tar", ("x.png", b""), ("x.cls", b"cat"))
    archive_of(tmp_path / "1.tar", ("y.png", b""), ("z.cls", b"dog"))
    assert labels(tmp_path) == {"x.png": "cat", "y.png": "", "z.cls": ""}


def test_a_huge_label_is_none(tmp_path, told):
    path = archive_of(tmp_path / "0.tar", ("a/x.png", b""), ("a/x.cls", b"9" * 2000))
    assert labels(path) == {"a/x.png": "a"}
    assert "a/x.cls in 0.tar holds 2000 bytes, which is no label" in told.text


# A member that is not simply a file, and its reason.
ODD = {
    "a link": (member("a.png", b"", type=tarfile.SYMTYPE, linkname="b.png"), "no regular file"),
    "a hard link": (member("a.png", b"", type=tarfile.LNKTYPE, linkname="b.png"), "no regular file"),
    "a device": (member("a.png", b"", type=tarfile.CHRTYPE), "no regular file"),
    "a pipe": (member("a.png", b"", type=tarfile.FIFOTYPE), "no regular file"),
    "a sparse file": (
        member("a.png", b"", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}),
        "no regular file",
    ),
    "above": (member("../a.png"), "its name leads out of the archive"),
    "far above": (member("x/../../a.png"), "its name leads out of the archive"),
    "absolute": (member("/etc/a.png"), ""),
    "here": (member("./x/./a.png"), ""),
    "no utf-8": (member(os.fsdecode(b"caf\xe9.png")), ""),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_odd_members_are_listed_with_the_reason(tmp_path, name, kind):
    if name == "a sparse file" and kind == tarfile.GNU_FORMAT:
        return  # it has other headers for them
    (info, content), reason = ODD[name]
    content.seek(0)
    path = archive_of(tmp_path / "0.tar", (info, content), member("b.png"), format=kind)
    found = listed(path)
    assert len(found) == 2
    odd = next(each for each in found.values() if each.path != "b.png")
    assert odd.reason.startswith(reason)
    assert bool(odd.reason) == bool(reason)
    if not reason:
        assert Source("tar", path).read(odd) == b"x"
        assert not odd.path.startswith("/")


def test_hidden_files_and_other_kinds_of_members_are_no_pictures(tmp_path):
    path = archive_of(
        tmp_path / "0.tar",
        ("._a.png", b""),
        (".DS_Store", b""),
        ("x/.hidden/a.png", b""),
        member("d", b"", type=tarfile.DIRTYPE),
    )
    assert listed(path) == {}


def test_a_picture_is_not_larger_than_a_gigabyte(tmp_path):
    info = tarfile.TarInfo("a.png")
    info.size = 2 * 2**30
    with open(tmp_path / "0.tar", "wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + info.size + 1024)  # holes: it takes no room
    assert listed(tmp_path / "0.tar")["a.png"].reason == "larger than 1 GB, which is more than a picture may have"


# --------------------------------------------------------------------------- archives in archives


def nested(depth, content):
    for _ in range(depth):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("in.tar")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        content = buffer.getvalue()
    return content


def test_archives_in_archives_are_folders_down_to_a_depth(tmp_path):
    inner = archive_of(tmp_path / "a.tar", ("x.png", b"picture")).read_bytes()
    (tmp_path / "three.tar").write_bytes(nested(3, inner))
    (found,) = Source("tar", tmp_path / "three.tar").members()
    assert (found.path, found.label) == ("in/in/in/x.png", "in")
    assert Source("tar", tmp_path / "three.tar").read(found) == b"picture"
    (tmp_path / "deep.tar").write_bytes(nested(30, inner))
    (found,) = Source("tar", tmp_path / "deep.tar").members()
    assert found.reason == "an archive in more than 8 archives"


def test_a_broken_archive_in_an_archive_is_named(tmp_path):
    path = archive_of(tmp_path / "0.tar", ("a.png", b""), ("n0123.tar", b"no archive" * 100))
    with pytest.raises(StudyError, match=r"^n0123\.tar in 0\.tar is no whole tar file .*Fetch it again"):
        listed(path)


# --------------------------------------------------------------------------- broken archives


@pytest.fixture
def whole(tmp_path):
    return archive_of(tmp_path / "whole.tar", *((f"{i}.png", bytes([i]) * 700) for i in range(4))).read_bytes()


def changed(content, place, patch):
    return content[:place] + patch + content[place + len(patch) :]


def sized(content, field):
    """The second member says that it has another size; the sum over its header is right."""
    header = bytearray(changed(content, 1536, b"")[1536:2048])
    header[124:136], header[148:156] = field, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return changed(content, 1536, bytes(header))


BROKEN = {
    "cut in a content": (lambda content: content[:2100], "unexpected end of data"),
    "cut in a header": (lambda content: content[:1700], "the header at byte 1536 is broken"),
    "a broken header": (lambda content: changed(content, 1540, b"\xff" * 30), "the header at byte 1536 is broken"),
    "a broken first header": (lambda content: changed(content, 4, b"\xff" * 30), "invalid header|bad checksum"),
    "two archives behind each other": (
        lambda content: content * 2,
        "but more follows at byte 10240, as in archives put",
    ),
    "a huge size": (lambda content: sized(content, b"77777777777\0"), "unexpected end of data"),
    "a size of more than all disks": (lambda content: sized(content, b"\x80" + b"\x7f" * 11), "."),
    "a negative size": (
        lambda content: sized(content, b"\xff" * 10 + b"\xf0\x00"),
        "leads back|invalid offset|invalid header",
    ),
    "a size of minus one": (lambda content: sized(content, b"\xff" * 12), "leads back|invalid offset|invalid header"),
    "nothing": (lambda content: b"", "empty file"),
    "no archive": (lambda content: b"no archive " * 100, "truncated header|invalid header|bad checksum"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_archive_that_cannot_be_listed_to_its_end_is_refused(tmp_path, whole, name):
    damage, text = BROKEN[name]
    (tmp_path / "bad.tar").write_bytes(damage(whole))
    with pytest.raises(
        StudyError, match=rf"bad\.tar is no whole tar file \(.*(?:{text}).*\)\. Fetch it again, or pack"
    ):
        listed(tmp_path / "bad.tar")


@pytest.mark.parametrize("end", [0, 1, 512, 4096, 40_000])
def test_padding_and_its_want_are_no_damage(tmp_path, whole, end):
    bare = whole[: 4 * 1536]
    (tmp_path / "0.tar").write_bytes(bare + bytes(end))
    assert len(listed(tmp_path / "0.tar")) == 4


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_archive_is_refused_with_the_way_out(tmp_path, whole, pack):
    (tmp_path / "0.tar").write_bytes(pack(whole))
    with pytest.raises(
        StudyError, match=r"0\.tar is no whole tar file .* unpack the compression \(gunzip\), or the archive"
    ):
        listed(tmp_path / "0.tar")


def test_headers_in_a_chain_and_huge_ones_are_refused(tmp_path):
    def header(kind, size):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        return info.tobuf(tarfile.GNU_FORMAT)

    (tmp_path / "chain.tar").write_bytes(header(tarfile.XGLTYPE, 0) * 5000)
    with pytest.raises(StudyError, match=r"chain\.tar is no whole tar file"):
        listed(tmp_path / "chain.tar")
    with open(tmp_path / "huge.tar", "wb") as file:
        file.write(header(tarfile.GNUTYPE_LONGNAME, 2**36))
        file.truncate(2**37)
    with pytest.raises(StudyError, match=r"huge\.tar is no whole tar file \(a header of \d+ bytes\)"):
        listed(tmp_path / "huge.tar")


# --------------------------------------------------------------------------- places


def test_compressed_archives_beside_others_are_told(tmp_path, told):
    for name in ("b.tar.gz", "deep/a.tgz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        StudyError, match=r"there is no \.tar file in \S+ \(2 compressed archives, the first is b\.tar\.gz: unpack"
    ):
        listed(tmp_path)
    archive_of(tmp_path / "c.tar", ("x.png", b""))
    assert set(listed(tmp_path)) == {"x.png"}
    assert (
        "holds 2 compressed archives, the first is b.tar.gz: unpack their compression; they are left out" in told.text
    )


def test_hidden_archives_are_left_out(tmp_path):
    archive_of(tmp_path / "a.tar", ("x.png", b""))
    (tmp_path / "._a.tar").write_bytes(b"what a Mac leaves on other disks")
    assert shards(tmp_path) == [tmp_path / "a.tar"]


def test_more_archives_than_may_be_open_are_read_from_many_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "_HELD_OPEN", 3)
    monkeypatch.setattr(tars, "_held", {})
    for i in range(12):
        archive_of(tmp_path / f"{i:02d}.tar", (f"{i}.png", b"%d" % i))
    source, found = Source("tar", tmp_path), {}
    members = source.members()

    def read_all():
        for each in members:
            found[each.path] = source.read(each)

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"{i}.png": b"%d" % i for i in range(12)}
    assert len(tars._held) == 3
