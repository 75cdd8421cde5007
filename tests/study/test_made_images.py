"""Images made for units, numbered behind the natural ones."""

import numpy as np
import pytest

from interpretability.errors import InputError
from study.images.made import MadeImages, Pictures, digest_of, made_digest, open_made
from study.images.manifest import open_images
from tests.helpers.made_images import fabricate

UNITS = [("one", "layer/with/parts", 3), ("one", "second", 0), ("two", "only", 7)]


@pytest.fixture
def images(drawn_study):
    return open_images(drawn_study.folder / "images")


@pytest.fixture
def folder(images, tmp_path):
    return fabricate(
        tmp_path / "made", images.folder, UNITS, n_images=2, n_sets=2, size=16, unreachable=[(*UNITS[1], "min")]
    )


def test_pictures_are_the_natural_ones_and_behind_them_the_made_ones(images, folder):
    pictures, natural = Pictures.open(images, folder), len(images)
    assert len(pictures) == natural + 20
    assert pictures.n_natural == natural
    assert pictures.is_made([0, natural - 1, natural]).tolist() == [False, False, True]
    np.testing.assert_array_equal(pictures.pixels(5), images.pixels(5))
    assert pictures.path(5) == images.path(5)
    assert np.array_equal(pictures.thumbnail(5, 8), images.thumbnail(5, 8))
    stored = np.load(folder / "pixels/one.npy"), np.load(folder / "pixels/two.npy")
    np.testing.assert_array_equal(pictures.pixels(natural), stored[0][0])
    np.testing.assert_array_equal(pictures.pixels(natural + 11), stored[0][11])
    np.testing.assert_array_equal(pictures.pixels(natural + 12), stored[1][0])
    np.testing.assert_array_equal(pictures.pixels(natural + 19), stored[1][7])
    assert pictures.path(natural) == "made/one/layer/with/parts/3/max/0/0"
    assert pictures.path(natural + 3) == "made/one/layer/with/parts/3/min/0/1"
    assert pictures.path(natural + 19) == "made/two/only/7/min/1/1"
    assert len({pictures.path(row) for row in range(len(pictures))}) == len(pictures)
    assert pictures.digests[:natural] == images.manifest["digest"].tolist()
    assert pictures.digests[natural:] == [digest_of(pictures.pixels(row)) for row in range(natural, natural + 20)]
    assert pictures.made.digest == made_digest(pictures.digests[natural:])
    assert pictures.thumbnail(natural, 8).size == (8, 8)
    with pytest.raises(IndexError, match="was not made"):
        pictures.pixels(natural + 20)
    with pytest.raises(IndexError, match="was not made"):
        pictures.made.pixels(natural - 1)


def test_a_side_that_is_unreachable_has_a_row_and_no_images(folder):
    made = MadeImages(folder)
    gone = made.units[made.units["status"] == "unreachable"]
    assert gone[["model", "layer", "unit", "side"]].values.tolist() == [["one", "second", 0, "min"]] * 2
    assert not ((made.table["layer"] == "second") & (made.table["side"] == "min")).any()


def test_without_made_images_pictures_are_those_of_the_study(images, tmp_path):
    empty = fabricate(tmp_path / "empty", images.folder, [])
    for pictures in (Pictures.open(images, empty), Pictures.open(images, None)):
        assert pictures.made is None
        assert len(pictures) == len(images)
        assert pictures.digests == images.manifest["digest"].tolist()
        assert not pictures.is_made(np.arange(len(images))).any()
        np.testing.assert_array_equal(pictures.pixels(3), images.pixels(3))


def test_images_made_beside_others_are_refused(images, folder, study):
    study.params(seed=7)
    others = open_images(study.run_images("others"))
    assert others.digest != images.digest
    with pytest.raises(InputError, match="made beside other pictures") as caught:
        open_made(folder, others)
    assert "dvc repro" in str(caught.value)
