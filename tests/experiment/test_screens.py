"""Pictures of the pages, and what the driver of Chromium says where it cannot go on."""

from __future__ import annotations

import pytest
from PIL import Image

from experiment.rehearsal import chromium as driver
from experiment.rehearsal import keys, screens
from study.errors import StudyError
from tests.experiment import folders
from tests.helpers.programs import needs


@needs("Chromium", "npm packages")
def test_every_figure_has_its_picture(tmp_path, chromium):
    questions = folders.two_alternative(tmp_path / "questions", side=64)
    pages = folders.ratings(tmp_path / "pages", n_pages=12)
    paths = screens.of_trials(chromium, questions, tmp_path / "out")
    paths += screens.of_ratings(chromium, pages, tmp_path / "out")
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    figures = [
        f"{paper}_{number}" for paper, number in [("imi", "08"), *[("imi", n) for n in range(20, 24)], ("crowd", 13)]
    ]
    assert all(any(path.name.startswith(figure) for path in paths) for figure in figures)
    shots = {path.stem: Image.open(path).convert("RGB") for path in paths}
    assert {shot.width for shot in shots.values()} == {screens.WIDTH}
    assert len({shot.tobytes() for shot in shots.values()}) == len(paths), "each shows something else"
    trials = [shots[name] for name in ("trial", "imi_08_trial", *screens.RIGHT, screens.BEFORE, screens.WRONG)]
    assert {shot.size for shot in trials} == {(screens.WIDTH, screens.HEIGHT)}


def test_without_a_chromium_the_message_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(driver.shutil, "which", lambda name: None)
    with pytest.raises(StudyError, match="apt-get install chromium"):
        driver.Chromium()


@pytest.mark.parametrize("code", ["F1", "digit1", "Digit", "DigitA", "Numpadx", "Keya", "Key", ""])
def test_keys_that_no_one_knows_are_refused(code):
    with pytest.raises(StudyError, match="No key is known by the code"):
        keys.key(code)


@needs("Chromium")
def test_what_never_comes_ends_with_what_is_there(tmp_path, chromium):
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>t</title><p>This is what is there</p>")
    with chromium.profile() as profile:
        tab = profile.tab()
        tab.open(page)
        with pytest.raises(StudyError, match="This is what is there"):
            tab.wait("window.never", 0.1)
        with pytest.raises(StudyError, match="nothing that #gone selects"):
            tab.click("#gone")
        with pytest.raises(StudyError, match="no page \\+1"):
            tab.history(1)
        with pytest.raises(StudyError, match="cannot open"):
            tab.open("http://127.0.0.1:1/")
