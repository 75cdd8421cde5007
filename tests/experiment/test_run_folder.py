"""Run folders: what is in them, and one clear message for whatever is wrong with one."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import stat

import pytest

from experiment import consent, settings
from experiment import plan as planning
from experiment.commands import prepare as preparing
from experiment.commands.prepare import prepare
from experiment.people import Hasher, read_token
from experiment.pictures import Pictures, address
from experiment.recorded import folder_of
from experiment.run import Run
from experiment.settings import DEFAULTS, KINDS, Settings, read_settings, template
from experiment.study_folder import Folder, Picture, checked
from study.errors import StudyError
from study.params.human import Checks
from study.params.whole import load_params
from tests.experiment import folders
from tests.experiment.clients import prepared
from tests.helpers.rules import ROOT


@pytest.fixture
def exported(tmp_path):
    return folders.two_alternative(tmp_path / "exported")


def rewritten(folder, name, change):
    """A file of a folder changed as a text, with its digest in study.json put right."""
    text = (folder / name).read_text()
    changed = change(text)
    assert changed != text
    (folder / name).write_text(changed)
    study = json.loads((folder / "study.json").read_text())
    folders.write_study(folder, {key: value for key, value in study.items() if key not in ("files", "schema")})


# --- prepare


def test_a_run_folder_holds_what_a_run_needs(exported, tmp_path):
    prepare(tmp_path / "run", exported, settings={"title": "It's: #1", "checks.min_row": 2, "comment": False})
    run = tmp_path / "run"
    assert (run / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith("answers")) == [
        ".gitignore",
        "consent.md",
        "keys",
        "questions",
        "settings.yaml",
    ]
    for name in ("person.key", "researcher.token"):
        assert stat.S_IMODE((run / "keys" / name).stat().st_mode) == 0o600
    assert (run / "keys/person.key").read_text() != (run / "keys/researcher.token").read_text()
    assert len(read_token(run / "keys/researcher.token")) == 64
    found = read_settings(run / "settings.yaml")
    assert (found.title, found.checks.min_row, found.comment) == ("It's: #1", 2, False)
    assert found.checks.max_seconds == 2500
    with Run(run) as opened:
        assert (opened.source, opened.people) == ("people", True)


def test_nothing_is_left_of_a_run_that_could_not_be_made(exported, tmp_path):
    (exported / "catch.json").unlink()
    with pytest.raises(StudyError, match=r"catch\.json is missing"):
        prepare(tmp_path / "run", exported)
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/answers").write_text("")
    with pytest.raises(StudyError, match="is there already and holds something"):
        prepare(tmp_path / "run", folders.ratings(tmp_path / "pages"))


def test_rating_pages_set_pay_and_time_by_the_page(tmp_path):
    prepare(tmp_path / "run", folders.ratings(tmp_path / "exported", n_pages=20))
    found = read_settings(tmp_path / "run/settings.yaml")
    assert (found.pages_a_session, found.minutes, found.pay.amount) == (12, 3, 0.72)  # 12 pages of 15 pictures


def test_the_command_takes_a_folder_or_exports(exported, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    preparing.add_arguments(parser)
    preparing.main(parser.parse_args([str(tmp_path / "run"), "--questions", str(exported), "--simulated"]))
    assert "python -m experiment serve" in capsys.readouterr().out
    with Run(tmp_path / "run") as run:
        assert run.source == "simulated"
    with pytest.raises(StudyError, match="is there already and holds something"):  # before anything is exported
        preparing.main(parser.parse_args([str(tmp_path / "run"), "--params", "nowhere"]))
    with pytest.raises(StudyError, match=r"nowhere/params\.yaml"):
        preparing.main(parser.parse_args([str(tmp_path / "other"), "--params", str(tmp_path / "nowhere/params.yaml")]))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--questions", "FOLDER", "--ratings"], "exported already; leave --ratings out"),
        (["--questions", "FOLDER", "--units", "3", "--held-out"], "exported already; leave --held-out, --units out"),
        (["--ratings", "--models", "resnet"], "exports rating pages; leave --models out"),
        (["--raters", "2"], "without --ratings .*; leave --raters out"),
    ],
)
def test_an_option_that_would_not_be_looked_at_is_refused(tmp_path, line, words):
    parser = argparse.ArgumentParser()
    preparing.add_arguments(parser)
    with pytest.raises(StudyError, match=words):
        preparing.main(parser.parse_args([str(tmp_path / "run"), *line]))


# --- settings


def test_templates_say_the_defaults(tmp_path):
    for kind in KINDS:
        (tmp_path / "settings.yaml").write_text(template(kind, {}))
        found = read_settings(tmp_path / "settings.yaml")
        if kind == settings.TWO_ALTERNATIVE:
            assert found == Settings()
            keys = {line.split(":")[0].strip() for line in template(kind, {}).splitlines() if ":" in line.split("#")[0]}
            assert keys >= (Settings.model_fields.keys() | settings.Checks.model_fields.keys()) - {"pages_a_session"}
        else:
            assert found == Settings(title=found.title, minutes=3, pay=settings.Pay(amount=0.6))


def test_checks_are_those_of_the_study():
    params = load_params(ROOT / "params.yaml").human.checks
    assert isinstance(params, Checks)
    assert settings.Checks() == settings.Checks(
        **{name: getattr(params, name) for name in settings.Checks.model_fields}
    )
    assert set(settings.Checks.model_fields) == set(vars(params))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: 3", "title: Input should be a valid string, not 3"),
        ("feedback: some", "feedback: Input should be 'all' or 'practice', not 'some'"),
        ("titel: x", "titel: no such key; is title meant"),
        ("colour: red", "colour: no such key; there are title, language"),
        ("pay: {amuont: 1.0}", r"pay\.amuont: no such key; is pay\.amount meant"),
        ("wait_seconds: .inf", "wait_seconds"),
        ("wait_seconds: '1'", "wait_seconds"),
        ("pay: {amount: -1.0}", r"pay\.amount"),
        ("pay: {currency: Dollars}", r"pay\.currency: must be three capital letters, such as USD, not 'Dollars'"),
        ("complete: {link: 'javascript:alert(1)'}", r"complete\.link: must be empty or begin with https://"),
        ("complete: {link: 'https://a b'}", r"complete\.link"),
        ("complete: {code: 'a b'}", r"complete\.code"),
        ("practice_obvious: 6", "practice_obvious is 6, more than practice_block, which is 5"),
        ("checks: {min_seconds: 3000}", r"checks\.min_seconds is more than checks\.max_seconds"),
        ("checks: {max_demo_blocks: 0}", r"checks\.max_demo_blocks"),
        ("title: ''", "title"),
        ('title: "a\\nb"', "title"),
        ("wanted_width: 0", "wanted_width"),
        ("catch_trials: -1", "catch_trials"),
        ("language: english", "language"),
        ("- 1", "holds no keys"),
        ("title: [", "is not valid YAML"),
        ("title: a\ntitle: b", "stands in line 2 once more"),
    ],
)
def test_settings_that_are_not_allowed_are_named(tmp_path, text, words):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(StudyError, match=words) as caught:
        read_settings(tmp_path / "settings.yaml")
    assert str(tmp_path / "settings.yaml") in str(caught.value)


def test_all_problems_of_settings_are_told_at_once(tmp_path):
    (tmp_path / "settings.yaml").write_text("title: 3\nminutes: 0\nrepeat: maybe")
    with pytest.raises(StudyError, match=r"title: .*; minutes: .*; repeat: "):
        read_settings(tmp_path / "settings.yaml")
    with pytest.raises(StudyError, match="no such file"):
        read_settings(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"practice_obvious": 5, "practice_block": 50},
            "practice_block of settings.yaml asks for 45 other practice questions",
        ),
        ({"practice_obvious": 20, "practice_block": 20}, "practice_obvious of settings.yaml asks for 20 obvious"),
        ({"catch_trials": 11}, "catch_trials of settings.yaml asks for 11 catch questions"),
    ],
)
def test_settings_that_ask_for_more_than_there_is(tmp_path, changed, words):
    path = prepared(tmp_path, settings=changed)
    with pytest.raises(StudyError, match=words):
        Run(path)


def test_checks_that_no_session_can_pass_are_doubted(exported):
    folder = Folder.read(exported)
    assert planning.doubt(folder, Settings()) is None  # 5 questions and 5 catch trials, 5 in each row
    doubt = planning.doubt(folder, Settings(catch_trials=4))
    assert doubt is not None
    assert "a session has 9 trials; it can be at most 4" in doubt
    assert planning.doubt(Folder.read(folders.ratings(exported.parent / "pages")), Settings(catch_trials=0)) is None


# --- consent


def test_consent_is_html_without_anything_active():
    text = """# Title

<script>alert(1)</script> <b onclick="x()">bold</b> &amp; *kind*

- one [site](https://example.org/?a=1&b=2) and [mail](mailto:a@example.org)
- [bad](javascript:alert(1)) [data](data:text/html,x) ![picture](https://example.org/x.png)

<img src=x onerror=alert(1)>
"""
    found = consent.html_of(text)
    assert "<h1>Title</h1>" in found
    assert "<em>kind</em>" in found
    assert '<a href="https://example.org/?a=1&amp;b=2">site</a>' in found
    assert '<a href="mailto:a@example.org">mail</a>' in found
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in found
    tags = {part.split(">")[0].split()[0].strip("/") for part in found.split("<")[1:]}
    assert tags <= {"h1", "p", "em", "ul", "li", "a"}
    assert not [each for each in ('href="javascript', 'href="data', "<img", "<script", "<b ") if each in found]


@pytest.mark.parametrize(
    ("content", "words"), [(b" \n", "is empty"), (b"\xff", "is not UTF-8 at byte 0"), (b"x" * 70000, "at most 65536")]
)
def test_a_text_of_consent_that_cannot_be_shown(tmp_path, content, words):
    (tmp_path / "consent.md").write_bytes(content)
    with pytest.raises(StudyError, match=words):
        consent.read_consent(tmp_path / "consent.md")
    with pytest.raises(StudyError, match="no such file"):
        consent.read_consent(tmp_path / "other.md")


def test_the_template_can_be_shown():
    assert consent.read_consent(DEFAULTS / "consent.md").startswith("<h1>")


# --- questions


def test_a_folder_is_read_as_it_was_written(exported):
    folder = Folder.read(exported, look_at_pictures=True)
    assert folder.kind == "two-alternative"
    assert folder.experiments() == ["resnet_natural"]
    kinds = [each.kind for each in folder.questions.values()]
    assert [kinds.count(kind) for kind in ("main", "practice", "catch")] == [20, 12, 10]
    question = folder.questions["q000001"]
    assert (len(question.left), len(question.right), question.unit) == (9, 9, ("resnet", "layer0.conv", 100, "natural"))
    rows = list(csv.DictReader((exported / "images.csv").read_text().splitlines()))
    assert folder.pictures[rows[3]["file"]].sha256 == rows[3]["sha256"]
    pages = Folder.read(folders.ratings(exported.parent / "pages"))
    assert (pages.kind, len(pages.pages), len(pages.pages[1].pictures)) == ("ratings", 8, 15)


DAMAGE = [
    ("units.json", '"answer": "top"', '"answer": "left"', "units.0.tasks"),
    ("units.json", "images/", "../keys/", "String should match pattern"),
    ("units.json", '"unit": 100', '"unit": "100"', "unit"),
    ("sessions.json", "q000001", "q999999", "asks q999999 in s00001"),
    ("sessions.json", '"questions": [', '"questions": ["p0001", ', "asks p0001 in s00001, which is no main question"),
    ("practice.json", "p0002", "p0001", "name question p0001 twice"),
    ("catch.json", '"schema": 2', '"schema": 3', "schema"),
    ("catch.json", "]}", "]", "is not as the export writes it"),
    ("images.csv", "images/", "images/x", "has 'images/x"),
    ("images.csv", ",24,", ",wide,", "is no table of pictures"),
]


@pytest.mark.parametrize(("name", "old", "new", "words"), DAMAGE)
def test_a_damaged_folder_is_named(exported, name, old, new, words):
    rewritten(exported, name, lambda text: text.replace(old, new, 1))
    with pytest.raises(StudyError, match=words) as caught:
        Folder.read(exported)
    assert "Take the folder as it was exported" in str(caught.value)


def test_files_that_are_not_those_of_the_export(exported):
    units = exported / "units.json"
    units.write_text(units.read_text() + "\n")
    with pytest.raises(StudyError, match=r"units\.json is not the file that study\.json describes"):
        Folder.read(exported)
    units.unlink()
    with pytest.raises(StudyError, match=r"units\.json is missing"):
        Folder.read(exported)
    (exported / "study.json").write_text('{"schema": 1, "kind": "two-alternative", "files": {}}')
    with pytest.raises(StudyError, match=r"schema: Input should be 2, not 1"):
        Folder.read(exported)
    (exported / "study.json").unlink()
    with pytest.raises(StudyError, match=r"study\.json: no such file"):
        Folder.read(exported)


def test_pictures_that_are_not_those_of_the_export(exported, tmp_path):
    folder = Folder.read(exported)
    file, picture = next(iter(folder.pictures.items()))
    data = picture.path.read_bytes()
    picture.path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # of the same length
    assert Folder.read(exported).pictures[file] == picture
    with pytest.raises(StudyError, match="is not the picture that"):
        Folder.read(exported, look_at_pictures=True)
    with pytest.raises(StudyError, match="is not the picture that"):
        checked(picture)
    with pytest.raises(StudyError, match="is not the picture that"):
        prepare(tmp_path / "run", exported)
    picture.path.write_bytes(data + b"x")
    with pytest.raises(StudyError, match=rf"has {len(data) + 1} bytes; images\.csv says {len(data)}"):
        Folder.read(exported)
    picture.path.unlink()
    with pytest.raises(StudyError, match=r"is missing"):
        Folder.read(exported)


def test_rating_pages_with_a_picture_twice(tmp_path):
    exported = folders.ratings(tmp_path / "exported")
    pages = json.loads((exported / "pages.json").read_text())
    one, two = pages["pages"][0]["pictures"][:2]
    rewritten(exported, "pages.json", lambda text: text.replace(two, one, 1))
    with pytest.raises(StudyError, match="shows a picture twice on page 1"):
        Folder.read(exported)


def test_a_run_without_its_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(StudyError, match=r"no such folder\. `python -m experiment prepare"):
        folder_of(tmp_path / "nowhere")
    path = prepared(tmp_path)
    shutil.rmtree(path / "questions")
    with pytest.raises(StudyError, match=r"questions/study\.json: no such file"):
        Run(path)


# --- pictures and people


def test_pictures_used_last_stay_in_memory(tmp_path):
    pictures = Pictures({}, most_bytes=10)
    for file, size in (("a", 4), ("b", 4), ("c", 2)):
        pictures.keep(file, b"x" * size)
    assert pictures.kept_bytes == 10
    assert pictures.kept("a") == b"xxxx"  # and used last
    pictures.keep("d", b"xxx")
    assert [file for file in "abcd" if pictures.kept(file) is not None] == ["a", "c", "d"]
    assert pictures.kept_bytes == 9
    pictures.keep("e", b"x" * 11)
    pictures.keep("a", b"xxxx")
    assert (pictures.kept("e"), pictures.kept_bytes) == (None, 9)


def test_addresses_are_keyed_by_the_session():
    names = {address(secret, file) for secret in (b"1" * 32, b"2" * 32) for file in ("images/a.jpg", "images/b.jpg")}
    assert len(names) == 4
    assert address(b"1" * 32, "images/a.jpg") in names


def test_a_changed_picture_is_not_served(exported):
    folder = Folder.read(exported)
    file = next(iter(folder.pictures))
    pictures = Pictures(folder.pictures)
    assert pictures.load(file) == folder.pictures[file].path.read_bytes()
    folder.pictures[file].path.write_bytes(b"x" * folder.pictures[file].bytes)
    with pytest.raises(StudyError, match="is not the picture that"):
        pictures.load(file)


def test_people_are_named_by_key_platform_and_id():
    one, two = Hasher(b"1" * 32), Hasher(b"2" * 32)
    names = {hasher.name(platform, person) for hasher in (one, two) for platform in ("a", "b") for person in ("x", "y")}
    assert len(names) == 8
    assert one.name("ab", "c") != one.name("a", "bc")
    assert one.name("a", "x") in names


def test_a_token_must_be_long(tmp_path):
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(StudyError, match="needs at least 16"):
        read_token(tmp_path / "token")


def test_a_picture_has_what_pages_are_told(exported):
    folder = Folder.read(exported)
    file, picture = next(iter(folder.pictures.items()))
    assert isinstance(picture, Picture)
    told = Pictures(folder.pictures).told(b"1" * 32, file)
    assert told == {
        "src": f"/p/{address(b'1' * 32, file)}",
        "bytes": picture.path.stat().st_size,
        "sha256": picture.sha256,
        "width": picture.width,
        "height": picture.height,
    }
