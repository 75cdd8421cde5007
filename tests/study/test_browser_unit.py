"""The page of one unit in a real browser: its task and tasks, scores, pictures and texts, its picture for slides, its keys."""

from __future__ import annotations

import base64
import io
import math
import re
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from study.files.tables import read_parquet, write_parquet
from tests.helpers.axe import violations
from tests.helpers.programs import needs
from tests.helpers.report_fixture import BACKENDS, KEY, LAYERS, N_EXPLANATIONS, N_TASKS
from tests.helpers.shown_page import EVIL, page_of

pytestmark = needs("Chromium")
SLOPE = 6.25  # of the fixture
Z = NormalDist().inv_cdf(0.975)


ONE_SIDED = "mixer", "stem.norm"  # whose tasks are one-sided


def with_one_side(folder):
    """One layer that nobody was asked about has one-sided tasks in place of natural ones."""
    for path in (
        folder / "mis/units.parquet",
        folder / f"scores/{BACKENDS[0]}.parquet",
        folder / "tasks/mixer.parquet",
    ):
        table = read_parquet(path)
        own = (table["model"] == ONE_SIDED[0]) & (table["layer"] == ONE_SIDED[1])
        assert own.any()
        write_parquet(path, table.assign(condition=table["condition"].mask(own, "one_sided")))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("unit"), with_one_side, layers=LAYERS[:6], n_full_tasks=5)


@pytest.fixture(scope="module")
def units(page):
    return pd.read_parquet(page.parent / "mis/units.parquet")


@pytest.fixture(scope="module")
def lead(units):
    """Units under the leading similarity, most understandable first."""
    natural = units[(units["backend"] == BACKENDS[0]) & (units["condition"] == "natural")]
    return natural.sort_values("mis", ascending=False, ignore_index=True)


def addresses(rows):
    return ["/".join(map(str, key)) for key in rows[KEY].itertuples(index=False, name=None)]


def show(browser, page, unit, more="", **size):
    browser.open(page, f"#units?{more}unit={unit}", **size)


def text(browser, css):
    return browser.run(f"document.querySelector({css!r})?.textContent ?? ''")


def texts(browser, css):
    return browser.run(f"[...document.querySelectorAll({css!r})].map(e => e.textContent)")


def heading(browser):
    return text(browser, "#unit:not([hidden]) h1").strip()


def follow(browser, words, css="#unit a, #unit button"):
    """Press the button or follow the link that begins with these words."""
    browser.run(f"[...document.querySelectorAll({css!r})].find(e => e.textContent.startsWith({words!r})).click()")
    browser.settle()


def name_of(unit):
    model, layer, number, _ = unit.split("/")
    return f"{model} {layer} · {number}"


# ---------------------------------------------------------------- its place on the page


def test_a_unit_stands_in_place_of_the_study_and_the_way_back_leads_to_its_card(browser, page, lead):
    unit = addresses(lead)[0]
    show(browser, page, unit)
    assert heading(browser) == name_of(unit)
    assert browser.run("document.getElementById('study').hidden")
    title = browser.run("document.title")
    assert title.startswith(f"{name_of(unit)} | ")
    assert browser.run("document.activeElement === document.querySelector('#unit h1')")
    follow(browser, "← All units")
    assert heading(browser) == ""
    assert not browser.run("document.getElementById('study').hidden")
    assert browser.run("document.title") == title.partition(" | ")[2]
    assert browser.run("new URLSearchParams(document.activeElement.hash?.slice(7)).get('unit')") == unit
    browser.run("history.back()")
    browser.settle()
    assert heading(browser) == name_of(unit)
    browser.press("Escape")
    browser.settle()
    assert heading(browser) == ""
    assert "unit=" not in browser.run("location.hash")


def test_an_address_of_an_unknown_unit_says_so_and_shows_the_list(browser, page):
    show(browser, page, "no/such/1/natural")
    assert heading(browser) == ""
    assert "no/such/1/natural" in text(browser, "#units [role=status]")
    assert browser.run("document.querySelectorAll('#units a[data-row]').length") > 0


def test_next_and_previous_go_through_the_list_as_it_is_filtered_and_sorted(browser, page, lead):
    order = addresses(lead[lead["model"] == "vit"].iloc[::-1])
    more = "view=table&model=vit&sort=mis&"
    show(browser, page, order[1], more)
    follow(browser, "Next")
    assert heading(browser) == name_of(order[2])
    browser.press("ArrowLeft")
    browser.settle()
    browser.press("ArrowLeft")
    browser.settle()
    assert heading(browser) == name_of(order[0])
    assert texts(browser, "#unit [rel=prev]") == []  # the first of the list
    browser.press("ArrowRight")
    browser.settle()
    assert heading(browser) == name_of(order[1])


def test_the_link_is_copied_or_said_to_be_in_the_address_line(browser, page, lead):
    unit = addresses(lead)[0]
    show(browser, page, unit)
    browser.run("navigator.clipboard.writeText = words => { window.copied = words; return Promise.resolve(); }")
    follow(browser, "Copy link")
    assert text(browser, "#unit .crumb [role=status]") == "Link copied"
    assert browser.run("window.copied === location.href")
    browser.run("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))")
    follow(browser, "Copy link")
    assert "address line" in text(browser, "#unit .crumb [role=status]")


# ---------------------------------------------------------------- what is said of it


def test_facts_and_scores_are_those_of_the_tables(browser, page, units, lead):
    row = lead.iloc[40]
    unit = addresses(lead)[40]
    show(browser, page, unit)
    named = text(browser, "#unit .named p")
    assert f"{row['layer_type']}, depth {row['depth']:.2f}" in named
    own = lead[lead["model"] == row["model"]]
    below = math.floor(100 * (own["mis"] < row["mis"]).sum() / (len(own) - 1))
    assert re.search(
        rf"Easier than ({below - 1}|{below}|{below + 1}) % of the {len(own)} units of {row['model']}", named
    )
    assert text(browser, "#unit .big b") == f"{row['mis']:.3f}"
    assert f"± {row['mis_se']:.3f} over its {N_TASKS} tasks" in text(browser, "#unit .big")
    chart = browser.run("document.querySelector('#unit .scores-chart').getAttribute('aria-label')").split("; ")
    said = dict(part.split(": ") for part in chart)
    of_unit = units[(units[KEY] == row[KEY]).all(axis=1)].set_index("backend")
    for backend in BACKENDS:
        mis, se = of_unit.loc[backend, ["mis", "mis_se"]]
        ends = f"({max(0, mis - Z * se):.3f} to {min(1, mis + Z * se):.3f})"
        name = f"{backend} (slope not identified)" if backend == BACKENDS[-1] else backend
        assert said[name] == f"{mis:.3f} {ends}"
    assert texts(browser, "#unit .scores-chart .name.lead")[0] == BACKENDS[0]
    assert f"{BACKENDS[-1]}*" in texts(browser, "#unit .scores-chart .name")
    scores = text(browser, "#unit .scores")
    assert "95 % interval" in scores
    assert f"± 1.96 standard errors over its {N_TASKS} tasks" in scores
    assert "*: the slope is not identified" in scores


def test_the_ends_of_a_network_are_called_so(browser, page, lead):
    own = lead[lead["model"] == "vit"]
    for place, word in ((0, "Easiest"), (-1, "Hardest")):
        show(browser, page, addresses(own)[place])
        assert f"{word} of the {len(own)} units of vit." in text(browser, "#unit .named p")


def test_answers_of_observers_stand_beside_the_scores_where_there_are_any(browser, page, lead):
    human = pd.read_parquet(page.parent / "human/units.parquet")
    row = human.iloc[3]
    show(browser, page, addresses(human)[3])
    right = round(row["his"] * row["n_responses"])
    mis = lead.set_index(KEY).loc[tuple(row[KEY]), "mis"]
    said = text(browser, "#unit .scores")
    ends = stats.binomtest(right, int(row["n_responses"])).proportion_ci(method="wilson")
    share = f"{row['his']:.3f} ({ends.low:.3f} to {ends.high:.3f})"
    assert f"Simulated observers were right in {right} of {row['n_responses']} answers: HIS {share}" in said
    assert f"Wilson’s interval over {row['n_responses']} answers." in said
    assert f"MIS {'above' if mis > row['his'] else 'below'} it by {abs(mis - row['his']):.3f}" in said
    assert browser.run("document.querySelectorAll('#unit .scores-chart rect.people').length") == 1
    without = next(unit for unit in addresses(lead) if unit not in set(addresses(human)))
    show(browser, page, without)
    assert "answers: HIS" not in text(browser, "#unit .scores")
    assert browser.run("document.querySelectorAll('#unit .scores-chart rect.people').length") == 0


# ---------------------------------------------------------------- its tasks


@pytest.fixture(scope="module")
def margins(page):
    return pd.read_parquet(page.parent / "scores/encoder.parquet").set_index(KEY)["margins"]


def test_bars_are_as_high_as_the_machine_is_sure_and_arrows_go_along_them(browser, page, lead, margins):
    unit = addresses(lead)[0]
    show(browser, page, unit)
    own = margins.loc[tuple(lead.iloc[0][KEY])]
    heights = browser.run(
        "[...document.querySelectorAll('#unit .bars i')].map(e => parseFloat(e.style.getPropertyValue('--p')))"
    )
    assert heights == pytest.approx([100 / (1 + math.exp(-SLOPE * margin)) for margin in own], abs=0.2)
    wrong = browser.run("[...document.querySelectorAll('#unit .bars button')].map(e => e.classList.contains('wrong'))")
    assert wrong == [bool(margin < 0) for margin in own]
    assert f"the machine is right in {sum(margin > 0 for margin in own)} of {N_TASKS}" in text(
        browser, "#unit .its-tasks h2"
    )
    current = "[...document.querySelectorAll('#unit .bars button')].findIndex(e => e.getAttribute('aria-current'))"
    tab_stops = "[...document.querySelectorAll('#unit .bars button')].filter(e => e.tabIndex === 0).length"
    first = browser.run(current)
    assert first >= 0
    browser.run(f"document.querySelectorAll('#unit .bars button')[{first}].focus()")
    browser.press("Home")
    for _ in range(3):
        browser.press("ArrowRight")
    assert browser.run(current) == 3
    assert browser.run(tab_stops) == 1
    assert "task 4 of 20" in text(browser, "#unit .task")
    assert heading(browser) == name_of(unit)  # arrows stayed with the bars
    browser.press("End")
    assert browser.run(current) == 3  # of the last task there are no pictures
    assert browser.run("document.activeElement.getAttribute('aria-disabled')") == "true"
    assert "pictures not in the page" in browser.run("document.activeElement.getAttribute('aria-label')")


def test_a_task_is_asked_before_its_answer_and_the_next_one_follows(browser, page, lead):
    show(browser, page, addresses(lead)[0])
    assert browser.run("document.querySelectorAll('#unit .task .t').length") == 2 * N_EXPLANATIONS + 2
    assert "right" not in text(browser, "#unit .task [role=status]")
    before = text(browser, "#unit .task")
    follow(browser, "A", "#unit .task button")
    assert re.search(r"You (right|wrong)", text(browser, "#unit .task [role=status]"))
    follow(browser, "Next task", "#unit .task button")
    assert re.search(r"task \d+ of 20", text(browser, "#unit .task"))[0] not in before
    assert browser.run("document.querySelector('#unit .task').contains(document.activeElement)")


def test_the_table_of_tasks_is_closed_and_has_their_numbers(browser, page, margins):
    unit = ("convnext", "a.conv", 4, "natural")
    show(browser, page, "/".join(map(str, unit)))
    assert not browser.run("document.querySelector('#unit .numbers').open")
    rows = texts(browser, "#unit .tasks tbody tr")
    for margin, row in zip(margins.loc[unit], rows, strict=True):
        # a margin is kept to a 32,767th of the largest
        shown = float(re.search(r"(0\.\d{3}|1\.000)", row)[1])
        assert shown == pytest.approx(1 / (1 + math.exp(-SLOPE * margin)), abs=1e-3)
        assert ("✓ right" if margin > 0 else "✗ wrong") in row
    answers = pd.read_parquet(page.parent / "human/responses.parquet").iloc[0]
    show(browser, page, "/".join(str(answers[name]) for name in KEY))
    assert "1 of 2 right" in texts(browser, "#unit .tasks tbody tr")[0]


def test_keys_answer_only_while_the_task_has_the_focus(browser, page, lead):
    show(browser, page, addresses(lead)[0])
    done = "document.querySelector('#unit .task').classList.contains('done')"
    browser.press("KeyA")
    assert not browser.run(done)
    browser.run("document.querySelector('#unit .task .q').focus()")
    browser.press("KeyB")
    assert browser.run(done)


def test_one_sided_tasks_say_that_the_other_side_is_drawn_at_random(browser, page):
    show(browser, page, f"{'/'.join(ONE_SIDED)}/3/one_sided")
    assert heading(browser) == f"{' '.join(ONE_SIDED)} · 3, one-sided tasks"
    assert "12 units of mixer, one-sided tasks" in text(browser, "#unit .named p")
    assert "− drawn at random" in text(browser, "#unit .task")
    assert "least" not in text(browser, "#unit .task")
    assert pixels(browser, "Picture copied").shape == (900, 1600, 3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A page without pictures, of a study that leaves tasks with a near copy out."""

    def drop(folder):
        path = folder / "params.yaml"
        path.write_text(path.read_text().replace("drop_near_duplicates: false", "drop_near_duplicates: true"))

    few = {"networks": ("resnet", "vit"), "layers": LAYERS[:3], "texts": False}
    return page_of(tmp_path_factory.mktemp("plain"), drop, show_images=False, **few)


def test_a_near_copy_is_said_and_where_it_is_left_out_it_does_not_count(browser, page, plain):
    unit = ("resnet", "a.conv", 1, "natural")
    show(browser, page, "/".join(map(str, unit)))
    assert "Task 3: a query is a near copy of an explanation." in text(browser, "#unit .its-tasks")
    assert f"of {N_TASKS}" in text(browser, "#unit .its-tasks h2")
    show(browser, plain, "/".join(map(str, unit)))
    own = pd.read_parquet(plain.parent / "scores/encoder.parquet").set_index(KEY).loc[unit, "margins"]
    right = sum(margin > 0 for place, margin in enumerate(own) if place != 2)
    assert f"right in {right} of {N_TASKS - 1}" in text(browser, "#unit .its-tasks h2")
    assert "Task 3 is left out of the score" in text(browser, "#unit .its-tasks")
    assert "left out: near copy of an explanation" in texts(browser, "#unit .tasks tbody tr")[2]
    assert browser.run("document.querySelectorAll('#unit .bars .out').length") == 1


def test_a_unit_without_pictures_has_everything_else_and_says_how_to_get_them(browser, plain):
    show(browser, plain, "resnet/a.conv/3/natural")
    assert heading(browser) == "resnet a.conv · 3"
    said = text(browser, "#unit .left")
    assert "No pictures of this unit are in the page." in said
    assert "python -m stages.tasks --export FILE.parquet --model resnet" in said
    assert browser.run("document.querySelectorAll('#unit .t, #unit .task').length") == 0
    assert browser.run("document.querySelectorAll('#unit .bars [aria-disabled=true]').length") == N_TASKS
    assert "Copy as PNG" not in texts(browser, "#unit button")
    assert texts(browser, "#unit .big b") != []


# ---------------------------------------------------------------- its pictures


def test_extremes_stand_in_order_and_focus_shows_the_rank(browser, page, lead):
    unit = lead[lead["unit"] != 1].iloc[0]
    show(browser, page, addresses(lead[lead["unit"] != 1])[0])
    assert texts(browser, "#unit .lower h2") == [
        f"The {N_TASKS} {which} exciting pictures" for which in ("least", "most")
    ]
    assert "In order of rank, the most exciting first." in text(browser, "#unit .lower")
    tasks = np.load(page.parent / f"tasks/{unit['model']}.npy")
    table = pd.read_parquet(page.parent / f"tasks/{unit['model']}.parquet")
    place = int(np.flatnonzero((table["layer"] == unit["layer"]) & (table["unit"] == unit["unit"]))[0])
    wanted = [f"{image:05d}" for image in np.sort(tasks[place][:, 0])]
    titles = browser.run("[...document.querySelectorAll('#unit .lower section:last-child .t')].map(e => e.title)")
    assert [title.split(": ")[-1] for title in titles] == wanted
    assert titles[0].startswith("rank 1 of 20, ")
    browser.run("document.querySelector('#unit .lower section:last-child .many [tabindex=\"0\"]').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    assert browser.run("document.activeElement.getAttribute('aria-label')").startswith("rank 3 of 20")
    shown = browser.run("getComputedStyle(document.activeElement, '::after').content")
    assert shown == '"3"'
    # tasks of a record: which images are more exciting is not known
    show(browser, page, next(each for each in addresses(lead) if each.split("/")[2] == "1"))
    assert "rank" not in text(browser, "#unit .lower").replace("In no order", "")


def test_neighbours_lead_to_their_pages(browser, page, lead):
    show(browser, page, addresses(lead)[0])
    names = texts(browser, "#unit .near a")
    shares = [int(share) for share in re.findall(r"shares (\d+) %", text(browser, "#unit .near"))]
    assert 0 < len(names) == len(shares) <= 4
    assert shares == sorted(shares, reverse=True)
    follow(browser, names[0], "#unit .near a")
    assert heading(browser).endswith(names[0])


# ---------------------------------------------------------------- its picture for slides


def pixels(browser, words):
    """The picture that the button gives away, as an array; `words`: what the page says then."""
    # the clipboard of a browser without a window has no user: what it is given is read back from the page
    browser.run(
        "window.given = null; navigator.clipboard.write = async ([item]) => { window.given = await item.getType('image/png'); }"
    )
    follow(browser, "Copy as PNG")
    browser.wait("window.given")
    browser.wait(f"document.querySelector('#unit .crumb [role=status]').textContent === {words!r}")
    encoded = browser.run(
        "new Promise(done => { const reader = new FileReader(); reader.onload = () => done(reader.result);"
        "reader.readAsDataURL(window.given); })"
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))).convert("RGB"))


@pytest.mark.parametrize(("scheme", "ground"), [("light", (255, 255, 255)), ("dark", (16, 19, 23))])
def test_the_picture_has_its_size_the_page_s_colours_and_everything_on_it(browser, page, lead, scheme, ground):
    browser.media(prefers_color_scheme=scheme)
    show(browser, page, addresses(lead)[0], width=1440, height=900)
    asked = pixels(browser, "Picture copied")
    assert asked.shape == (900, 1600, 3)
    assert tuple(asked[5, 5]) == ground
    differs = (asked != np.array(ground)).any(axis=2)
    parts = {
        "heading": (slice(60, 130), slice(80, 1200)),
        "name": (slice(135, 175), slice(80, 700)),
        "least": (slice(250, 697), slice(80, 527)),
        "queries": (slice(360, 590), slice(560, 1040)),
        "most": (slice(250, 697), slice(1073, 1520)),
        "score": (slice(750, 860), slice(80, 900)),
        "strip": (slice(740, 870), slice(1100, 1520)),
    }
    for part, where in parts.items():
        assert differs[where].mean() > 0.01, part
    assert differs[parts["least"]].mean() > 0.9
    follow(browser, "A", "#unit .task button")
    answered = pixels(browser, "Picture copied")
    assert (asked != answered).any()  # once it is answered, the picture says which one is right
    assert not (asked != answered)[parts["most"]].any()


def test_where_the_clipboard_refuses_a_file_is_saved(browser, page, lead, tmp_path):
    unit = addresses(lead)[0]
    show(browser, page, unit)
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("navigator.clipboard.write = () => Promise.reject(new DOMException('no', 'NotAllowedError'))")
    follow(browser, "Copy as PNG")
    browser.wait("document.querySelector('#unit .crumb [role=status]').textContent === 'Picture saved as a file'")
    for _ in range(200):
        if files := list(tmp_path.glob("*.png")):
            break
        browser.rest(0.02)
    assert re.fullmatch(r"[\w.-]+_task\d+\.png", files[0].name)
    browser.rest(0.1)
    assert Image.open(files[0]).size == (1600, 900)


# ---------------------------------------------------------------- its texts


def test_a_unit_shows_its_texts_with_scores_scatter_and_ratings(browser, page):
    unit = ("vit", "a.conv", 5)
    show(browser, page, f"{'/'.join(map(str, unit))}/natural")
    rows = browser.run(
        "[...document.querySelectorAll('#unit .said tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    scores = ["automatic", "of other units", "top pictures alone", "from ratings", "guide alone", "known", "ratings"]
    assert texts(browser, "#unit .said thead th") == ["text", "method", *scores]
    crowd = pd.read_parquet(page.parent / "crowd/scores.parquet").query("raters == 'kept' and estimator == 'latent'")
    crowd = crowd.set_index(["model", "layer", "unit", "method"])
    by_method = {row[1]: row for row in rows}
    assert set(by_method) == {"best", "invert", "le_label", "other"}
    for method in ("best", "other"):
        ours = crowd.loc[(*unit, method)]
        ends = [f"{value:.3f}".replace("-", "−") for value in ours[["rho", "low", "high"]]]
        assert by_method[method][5] == f"{ends[0]} ({ends[1]} to {ends[2]})"
    assert by_method["invert"][5] == "–"
    assert len(texts(browser, "#unit .one summary")) == 4
    # the first text is open: marks of a scatter, rated pictures with what raters said
    assert browser.run("document.querySelectorAll('#unit .one[open] svg.scatter circle').length") == 200
    label = browser.run("document.querySelector('#unit .one[open] svg').getAttribute('aria-label')")
    assert re.fullmatch(r"What “scene star” predicts \(0 to 1\) against what the unit does \(.*\), 200 pictures", label)
    said = texts(browser, "#unit .one[open] .rated li")
    assert len(said) == 24
    assert all(re.fullmatch(r"[0-3] of 3P \d+ %", words) for words in said)
    assert "24 of 30 rated pictures" in text(browser, "#unit .one[open]")
    note = text(browser, "#unit .says-of-it")
    assert "by the known factors of the scenes" in note
    assert "Scores from ratings: calibrated under the model." in note
    show(browser, page, "vit/a.conv/6/natural")
    assert texts(browser, "#unit .said, #unit .one") == []


# ---------------------------------------------------------------- every screen, every reader


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1024, 1440, 1920])
def test_nothing_is_wider_than_the_screen_before_and_after_an_answer(browser, page, width):
    show(browser, page, "vit/a.conv/5/natural", width=width, height=844)
    browser.run("document.querySelectorAll('#unit details').forEach(each => each.open = true)")
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") == width
    # nothing sticks out of the page, other than in what scrolls by itself
    sticking = browser.run(
        "[...document.querySelectorAll('#unit *')].filter(e => !e.closest('.scroll > *') && !e.closest('svg')).filter(e => {"
        "const box = e.getBoundingClientRect(); return box.width > 0 && (box.left < -1 || box.right > innerWidth + 1); })"
        ".map(e => `${e.tagName}.${e.className}`)"
    )
    assert sticking == []
    if browser.run("document.querySelector('#unit .task .q')"):
        browser.run("document.querySelector('#unit .task .q').click()")
        browser.settle()
        assert browser.run("document.documentElement.scrollWidth") == width


def test_on_a_phone_task_tasks_score_ranks_and_extremes_follow_each_other(browser, page, lead):
    show(browser, page, addresses(lead)[0], width=390, height=844)
    parts = ["#unit .task", "#unit .bars", "#unit .big", "#unit .ranks-chart", "#unit .lower"]
    tops = [browser.run(f"document.querySelector({css!r}).getBoundingClientRect().top") for css in parts]
    assert tops == sorted(tops)
    assert tops[0] < 300  # the task begins on the first screen
    widths = browser.run(
        "[...document.querySelectorAll('#unit .bars button')].map(e => e.getBoundingClientRect().width)"
    )
    assert min(widths) >= 24


def test_forced_colours_tell_right_from_wrong_and_print_hides_what_is_pressed(browser, page, lead, margins):
    unit = next(row for row in lead[KEY].itertuples(index=False, name=None) if (margins.loc[row] < 0).any())
    browser.media(forced_colors="active")
    show(browser, page, "/".join(map(str, unit)))
    kinds = {
        kind: browser.run(f"getComputedStyle(document.querySelector('#unit .bars {kind} i')).backgroundColor")
        for kind in (".right", ".wrong")
    }
    assert kinds[".right"] != kinds[".wrong"]
    browser.send("Emulation.setEmulatedMedia", media="print")
    hidden = browser.run(
        "['.crumb', '.numbers'].map(css => getComputedStyle(document.querySelector(`#unit ${css}`)).display)"
    )
    assert hidden == ["none", "none"]
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.send("Emulation.setEmulatedMedia", media="")


@needs("npm packages")
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, page, width, scheme):
    browser.media(prefers_color_scheme=scheme)
    show(browser, page, "vit/a.conv/5/natural", width=width, height=844)
    assert violations(browser) == []
    browser.run("document.querySelectorAll('#unit details').forEach(each => each.open = true)")
    follow(browser, "A", "#unit .task button")
    browser.rest(0.6)  # the bar of the answer has grown
    assert violations(browser) == []


def test_names_and_labels_from_data_do_nothing(browser, tmp_path):
    networks, layers = ("plain", EVIL.replace("/", "|")), ((EVIL, "Conv"), ("b.norm", "LayerNorm"))
    page = page_of(tmp_path, networks=networks, layers=layers, label=EVIL, title=EVIL, prefix=EVIL)
    browser.open(page)
    # a unit of a network and layer with such names has a link that opens it
    browser.run("[...document.querySelectorAll('a[data-row]')].find(a => a.hash.includes('onerror')).click()")
    browser.settle()
    assert "onerror" in heading(browser)
    assert browser.run("window.hit") is None
    assert browser.run("document.querySelectorAll('#unit img, #unit script').length") == 0
    assert browser.run("[...document.links].every(a => a.protocol === 'file:')")
    assert pixels(browser, "Picture copied").shape == (900, 1600, 3)
