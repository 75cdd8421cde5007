"""What the pages do with texts and names that come from elsewhere, with other numbers of explanations, and on the way out."""

from __future__ import annotations

import json

import pytest

from tests.experiment import folders
from tests.experiment.pages import BUTTONS, SETTINGS, served
from tests.helpers.programs import needs

pytestmark = needs("Chromium", "npm packages")
HOSTILE = (
    "<h1 id='title' class='x' style='color:red' onclick='hurt()'>Read <em>this</em></h1>"
    "<script>document.title = 'hurt'</script><style>p { display: none }</style><img src=x onerror='hurt()'>"
    "<p><a href='javascript:hurt()'>one</a> <a href='https://example.org/' onclick='hurt()'>two</a></p>"
    "<form action='/x'><input name='y'>three</form>"
)
VISIBLE = """[...document.querySelectorAll("main .trial img, main [data-button]")].map(e => e.getBoundingClientRect())
.filter(b => b.width > 0 && b.left >= 0 && b.top >= 0 && b.right <= innerWidth && b.bottom <= innerHeight).length"""


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return folders.two_alternative(tmp_path_factory.mktemp("questions") / "folder")


def test_of_a_text_for_consent_only_what_is_known_reaches_the_page(tmp_path, questions, tab, monkeypatch):
    """The server lets nothing of this through; were it to, the page would not either."""
    monkeypatch.setattr("experiment.run.read_consent", lambda path: HOSTILE)
    with served(tmp_path / "run", questions, **SETTINGS) as run:
        tab.open(run.address + "/")
        tab.wait("!!document.querySelector('[data-agree]')")
        assert tab.run("document.querySelector('.consent').innerHTML") == (
            "<h2>Read <em>this</em></h2><span></span><p><a>one</a> "
            '<a href="https://example.org/" target="_blank" rel="noopener noreferrer">two</a></p><span><span></span>three</span>'
        )
        # what the policy has to say of styles and handlers in it, and nothing beside
        assert all("Content Security Policy" in problem for problem in tab.problems)


@pytest.mark.parametrize(("query", "platform"), [("PROLIFIC_PID=p1&STUDY_ID=s", "prolific"), ("workerId=w1", "mturk")])
def test_names_of_platforms_leave_the_address_and_outlast_a_reload(tmp_path, questions, tab, query, platform):
    with served(tmp_path / "run", questions, narrow="refuse", **SETTINGS) as run:
        tab.open(f"{run.address}/?{query}", width=640, height=450)
        tab.wait("document.documentElement.dataset.narrow === '1'")
        assert tab.run("location.href") == run.address + "/"
        tab.reload()
        tab.wait("document.documentElement.dataset.narrow === '1'")
        assert len(run.recorded().sessions) == 0  # who cannot take part uses nothing up
        tab.window(1280, 720)
        tab.wait("document.documentElement.dataset.stage === 'consent'")
        assert tab.run("location.href") == run.address + "/"
        assert tab.run("Object.keys(sessionStorage).length") == 0
        session = run.recorded().sessions.iloc[0]
        assert session["platform"] == platform
        assert json.loads(session["screen"]) == tab.run("({width: screen.width, height: screen.height})")


@pytest.mark.parametrize("k", [0, 1, 5])
def test_trials_with_fewer_explanations_are_in_sight(tmp_path, tab, k):
    questions = folders.two_alternative(tmp_path / "folder", n_explanations=k)
    with served(tmp_path / "run", questions, **SETTINGS) as run:
        walk = run.walk(tab, width=1280, height=720)
        walk.until("main")
        tab.wait(BUTTONS)
        assert tab.run("document.querySelectorAll('main .trial img').length") == 2 * k + 2
        assert tab.run(VISIBLE) == 2 * k + 2 + 6
        asked = tab.run("document.querySelector('h1').textContent")
        assert asked == (
            "Which picture goes with those on the right?" if k else "Which picture does the unit like more?"
        )


@pytest.mark.parametrize("condition", ["natural", "one_sided"])
def test_words_are_true_of_the_left_side(tmp_path, tab, condition):
    questions = folders.two_alternative(tmp_path / "folder", experiments={"resnet_asked": ("resnet", condition)})
    with served(tmp_path / "run", questions, **SETTINGS) as run:
        walk = run.walk(tab)
        walk.until("instructions")
        tab.wait("!!document.querySelector('.step')")
        told = tab.run("document.querySelector('main').innerText")
        walk.until("main")
        tab.wait(BUTTONS)
        shown = tab.run("document.querySelector('.side.left h2').textContent")
    assert ("drawn at random" in told) == (condition == "one_sided")
    assert ("dislike" in told) == (condition == "natural")
    assert shown == {"natural": "The unit dislikes these", "one_sided": "Pictures drawn at random"}[condition]


@pytest.mark.parametrize(("width", "height"), [(800, 600), (1024, 768)])
def test_small_windows_show_a_trial_with_its_feedback(tmp_path, questions, tab, width, height):
    with served(tmp_path / "run", questions, **SETTINGS) as run:
        walk = run.walk(tab, width=width, height=height)
        walk.until("practice")
        walk.feedback(2)
        assert tab.run("document.documentElement.scrollHeight") <= height
        assert tab.run(VISIBLE) == 20 + 6
        # no button stands out of the frame of its query
        assert tab.run("[...document.querySelectorAll('.query')].every(e => e.scrollWidth <= e.clientWidth)")


def test_leaving_asks_first_and_ends_the_session(tmp_path, questions, tab):
    with served(tmp_path / "run", questions, **SETTINGS) as run:
        walk = run.walk(tab)
        walk.until("practice")
        tab.wait(BUTTONS)
        tab.click("[data-leave]")
        tab.click("[data-stay]")
        assert tab.run("document.querySelector('dialog').open") is False
        tab.click("[data-button='0']")
        tab.wait("!!document.querySelector('[data-continue]')")
        tab.click("[data-leave]")
        tab.click("[data-leave-now]")
        tab.wait("document.documentElement?.dataset.stage === 'end' && !!document.querySelector('h1')")
        assert tab.run("document.querySelector('h1').textContent") == "You have stopped"
        assert tab.run("document.querySelector('[data-leave]').hidden") is True
        assert run.recorded().sessions.iloc[0]["outcome"] == "left"
        assert len(run.recorded().answers) == 1


def test_raters_go_on_with_more_pages_until_there_are_none(tmp_path, tab):
    questions = folders.ratings(tmp_path / "folder", n_pages=4)
    with served(tmp_path / "run", questions, pages_a_session=2) as run:
        walk = run.walk(tab)
        walk.until("end")
        tab.click("[data-again]")
        tab.wait("document.documentElement.dataset.stage === 'consent'")
        walk.until("end")
        assert tab.run("document.querySelector('[data-again]')") is None
        assert sorted(run.recorded().pages["page"]) == [1, 2, 3, 4]
