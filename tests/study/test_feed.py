"""Quick decoding gives the pixels of the slow one, and batches do not depend on threads."""

from __future__ import annotations

import io
import random
import threading
from concurrent.futures import wait

import numpy as np
import pytest
import torch
from PIL import Image

from interpretability import images as pictures
from interpretability.errors import InputError
from interpretability.images import _decoders_agree, decode, decode_quickly, is_plain_jpeg
from interpretability.networks.preprocessing import Preprocessing
from study.errors import ChangedInput
from study.images import manifest
from study.images.ahead import Ahead, decoders
from study.images.feed import Feed
from study.images.manifest import open_images
from tests.conftest import encoded
from tests.helpers.rules import ROOT

NOISE = np.random.default_rng(0).integers(256, size=(41, 53, 3), dtype=np.uint8)
PHOTOGRAPHS = ROOT.parent / "shared" / "realdata" / "images"


def turned():
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NOISE).save(file, "JPEG", exif=exif)
    return file.getvalue()


def with_xmp():
    """A JPEG that is turned by XMP data in place of Exif."""
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    return encoded(Image.fromarray(NOISE), "JPEG", xmp=xmp)


def with_late_exif():
    """A JPEG whose Exif data stand behind the frame, where Pillow reads them all the same."""
    plain, segment = CONTENT_PLAIN, turned()
    exif = segment[segment.index(b"\xff\xe1") :]
    exif = exif[: 2 + int.from_bytes(exif[2:4])]
    scan = plain.index(b"\xff\xda")
    return plain[:scan] + exif + plain[scan:]


CONTENT_PLAIN = encoded(Image.fromarray(NOISE), "JPEG", subsampling=0)
CONTENT = {
    "444": encoded(Image.fromarray(NOISE), "JPEG", subsampling=0),
    "420": encoded(Image.fromarray(NOISE), "JPEG", subsampling=2),
    "progressive": encoded(Image.fromarray(NOISE), "JPEG", progressive=True),
    "grey": encoded(Image.fromarray(NOISE).convert("L"), "JPEG"),
    "cmyk": encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "turned": turned(),
    "xmp": with_xmp(),
    "late": with_late_exif(),
    "png": encoded(Image.fromarray(NOISE), "PNG"),
    "webp": encoded(Image.fromarray(NOISE), "WEBP"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_the_pixels_are_the_same(name):
    np.testing.assert_array_equal(decode_quickly(CONTENT[name]), decode(CONTENT[name]))


def test_only_plain_jpegs_go_the_quick_way(monkeypatch):
    assert [name for name in CONTENT if is_plain_jpeg(CONTENT[name])] == ["444", "420", "progressive", "grey"]
    assert not any(is_plain_jpeg(CONTENT["444"][:length]) for length in (0, 2, 3, 20))
    monkeypatch.setattr(pictures, "decode", lambda content: pytest.fail("the slow way"))
    assert decode_quickly(CONTENT["420"]).shape == NOISE.shape


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_without_a_second_decoder_the_first_one_is_used(monkeypatch, error):
    def gone(content):
        raise error

    monkeypatch.setattr(pictures, "_by_torchvision", gone)
    _decoders_agree.cache_clear()
    try:
        assert not _decoders_agree()
        np.testing.assert_array_equal(decode_quickly(CONTENT["420"]), decode(CONTENT["420"]))
    finally:
        _decoders_agree.cache_clear()


def test_a_second_decoder_that_disagrees_is_not_used(monkeypatch):
    monkeypatch.setattr(pictures, "_by_torchvision", lambda content: decode(content) ^ 1)
    _decoders_agree.cache_clear()
    try:
        np.testing.assert_array_equal(decode_quickly(CONTENT["444"]), decode(CONTENT["444"]))
    finally:
        _decoders_agree.cache_clear()


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no photographs at hand")
def test_the_pixels_of_photographs_are_the_same():
    files = sorted(PHOTOGRAPHS.glob("*/*"))
    for path in random.Random(0).sample(files, 150):
        content = path.read_bytes()
        np.testing.assert_array_equal(decode_quickly(content), decode(content), err_msg=path.name)


# --------------------------------------------------------------------------- batches


LARGE = Preprocessing(24, 24, (0.5,) * 3, (0.5,) * 3)
SMALL = Preprocessing(8, 10, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def images(study, photographs):
    root = photographs(20)
    study.params(images__source="folder", images__root=str(root), human__source="none")
    study.run_images()
    return open_images(study.folder / "images", str(root), quick=True)


@pytest.mark.parametrize("threads", [0, 3])
def test_batches_are_those_of_the_views_whatever_the_threads(images, threads):
    feed = Feed(images, [LARGE, SMALL, LARGE], 8, "cpu", threads=threads)
    found = list(feed)
    assert [rows.tolist() for rows, _ in found] == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert feed.decoded == 20
    for view in (LARGE, SMALL):
        for rows, batches in found:
            assert batches[view].shape == (8, 3, view.crop, view.crop)
            padded = [images.pixels(int(row)) for row in [*rows, *[rows[-1]] * (8 - len(rows))]]
            assert torch.equal(view.normalised(batches[view]), view.batch(padded))


@pytest.mark.parametrize("threads", [0, 3])
def test_a_feed_may_start_later_and_lose_a_view(images, threads):
    feed = Feed(images, [LARGE, SMALL], 4, "cpu", start=8, threads=threads)
    seen = []
    for rows, batches in feed:
        seen.append((int(rows[0]), LARGE in batches))
        if rows[0] == 8:
            feed.drop(LARGE)
    assert [start for start, _ in seen] == [8, 12, 16]
    assert seen[0] == (8, True)
    assert threads or not seen[-1][1], "batches under way keep the view, later ones do not"


@pytest.mark.parametrize("threads", [0, 3])
def test_each_picture_is_decoded_once_for_all_views(images, threads, monkeypatch):
    rows, lock = [], threading.Lock()
    usual = manifest.ImageSet.pixels

    def counted(self, row):
        with lock:
            rows.append(row)
        return usual(self, row)

    monkeypatch.setattr(manifest.ImageSet, "pixels", counted)
    list(Feed(images, [LARGE, SMALL], 8, "cpu", threads=threads))
    assert sorted(rows) == list(range(20))


@pytest.mark.parametrize("threads", [0, 3])
def test_a_changed_picture_ends_the_feed_with_its_name(images, threads):
    name = images.manifest["path"][13]
    (images.source.root / name).write_bytes(CONTENT["png"])
    with pytest.raises(ChangedInput, match=f"{name} has changed since the manifest"):
        list(Feed(images, [SMALL], 4, "cpu", threads=threads))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


class LateRoad:
    """Stands in for a stream whose copies take as long as they may: a tensor is copied when its buffer must be free, or when
    `arrive` says that all is over.
    """

    def __init__(self):
        self.under_way, self.n_sent = [], 0

    def send(self, tensors):
        self.n_sent += 1
        sent = LateSent([(tensor, torch.zeros_like(tensor)) for tensor in tensors])
        self.under_way.append(sent)
        return sent

    def arrive(self):
        for sent in self.under_way:
            sent.left()


class LateSent:
    def __init__(self, pairs):
        self.pairs, self.gone = pairs, False

    def left(self):
        if not self.gone:
            for source, copied in self.pairs:
                copied.copy_(source)
        self.gone = True

    def arrived(self):
        return [copied for _, copied in self.pairs]


class FeedOnLateRoad(Feed):
    """The feed of a GPU, with the road above."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.road, self.buffers, self.all_decoded = LateRoad(), set(), False

    def _road(self):
        return self.road

    def _begin(self, *given):
        batch = super()._begin(*given)
        self.buffers |= {stacked.data_ptr() for stacked in batch.stacked.values()}
        if self.all_decoded:
            wait(batch.pending)
        return batch


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_no_buffer_is_filled_before_its_copy_has_left(images, threads):
    """20 batches of a picture each go through at most 4 buffers a view, though copies are carried out as late as can be."""
    feed = FeedOnLateRoad(images, [LARGE, SMALL], 1, "cpu", threads=threads)
    found = list(feed)  # the caller asks for nothing until all are on their way
    feed.road.arrive()
    assert feed.road.n_sent == len(found) == 20
    assert len(feed.buffers) == 2 * (4 if threads else 1)
    for rows, batches in found:
        for view in (LARGE, SMALL):
            assert torch.equal(batches[view][0], view.fit(images.pixels(int(rows[0]))))


def test_the_stand_in_shows_a_buffer_that_is_filled_too_early(images, monkeypatch):
    """The test above fails where nobody waits for copies."""
    monkeypatch.setattr(LateSent, "left", lambda self: None)
    feed = FeedOnLateRoad(images, [SMALL], 1, "cpu", threads=1)
    found = list(feed)
    monkeypatch.undo()
    feed.road.arrive()
    equal = [torch.equal(batches[SMALL][0], SMALL.fit(images.pixels(int(rows[0])))) for rows, batches in found]
    assert sum(equal) <= 4, "only the last batches find their own pictures"


def test_a_batch_that_is_decoded_travels_before_it_is_asked_for(images):
    feed = FeedOnLateRoad(images, [SMALL], 4, "cpu", threads=2)
    feed.all_decoded = True
    for place, _ in enumerate(feed):
        assert feed.road.n_sent == min(place + 2, 5)


def test_a_dropped_view_travels_no_more(images):
    feed = FeedOnLateRoad(images, [LARGE, SMALL], 1, "cpu")
    for place, (_, batches) in enumerate(feed):
        assert list(batches) == ([LARGE, SMALL] if place < 3 else [SMALL])
        if place == 2:
            feed.drop(LARGE)
    feed.drop(SMALL)
    assert [batches for _, batches in feed] == [{}] * 20


@pytest.mark.parametrize("threads", [0, 2])
def test_announced_pictures_are_those_of_the_rows_and_decoded_once(images, threads, monkeypatch):
    rows, lock, usual = [], threading.Lock(), manifest.ImageSet.pixels

    def counted(self, row):
        with lock:
            rows.append((row, threading.current_thread().name.startswith("decode")))
        return usual(self, row)

    expected = [usual(images, row) for row in range(20)]
    monkeypatch.setattr(manifest.ImageSet, "pixels", counted)
    ahead = Ahead(images, threads)
    ahead.announce(np.arange(3, 9, dtype=np.int32))  # nobody asks for them
    ahead.announce(np.arange(20, dtype=np.int32))
    for row in range(20):
        np.testing.assert_array_equal(ahead.pixels(row), expected[row])
    np.testing.assert_array_equal(ahead.pixels(4), expected[4])  # not announced again
    assert [row for row, by_thread in rows if not by_thread] == ([*range(20), 4] if threads == 0 else [4])
    assert len(rows) <= 20 + 6 + 1, "those that nobody asked for may have been decoded too"


def test_the_number_of_threads(monkeypatch):
    assert decoders("cpu") == 0
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr("study.images.ahead.workers_here", lambda: 2)
    assert decoders("cuda:0") == 8
    monkeypatch.setenv("MIS_DECODERS", "5")
    assert decoders("cuda:0") == decoders("cpu") == 5
    monkeypatch.setenv("MIS_DECODERS", "many")
    with pytest.raises(InputError, match="MIS_DECODERS is 'many', it must be a whole number"):
        decoders("cpu")
