"""The report page: self-contained, escaped, the same bytes twice, complete also where a study lacks data."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages import report
from stages.errors import StudyError
from stages.pipeline import figures, page
from stages.pipeline.figures import FIGURES
from stages.pipeline.tables import write_parquet
from tests.report_fixture import N_EXPLANATIONS, NETWORKS, ROOT, build

EVIL = "\"><script>alert('x')</script><img src=x onerror=alert(1)>&amp;{{ 7 * 191 }}"
VOID = {"meta", "img", "source", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Tags with attributes, balance of open and closed ones, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def build_page(folder: Path, **options) -> str:
    report.main(build(folder, **options))
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    return folder, build_page(folder)


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("custom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "render", blank)
        return folder, build_page(folder, human=False)


def blank(spec, frame, study, title, *, narrow):
    """Stands in for a drawing where a test is about something else: drawing takes most of the time."""
    return f"<svg><title>{spec.name} {len(frame)} {narrow}</title></svg>"


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(figures, "render", blank)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in ("plots", "figures", "report.html")
        for path in sorted([folder / name, *(folder / name).glob("*")])
        if path.is_file()
    }


def test_two_builds_in_different_folders_give_the_same_bytes(synthetic, tmp_path):
    folder, _ = synthetic
    build_page(tmp_path / "elsewhere")
    first, second = files(folder), files(tmp_path / "elsewhere")
    assert len(first) == 2 * len(FIGURES) + 1
    assert first == second


def test_page_holds_no_path_of_this_machine(synthetic):
    folder, text = synthetic
    assert str(folder) not in text
    assert str(ROOT) not in text


@pytest.mark.parametrize("kind", ["synthetic", "custom"])
def test_nothing_is_fetched_from_elsewhere(kind, request):
    _, text = request.getfixturevalue(kind)
    reader = Reader(text)
    for tag, attributes in reader.tags:
        for name in ("src", "srcset", "href", "data", "action", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, name)
    assert not re.search(r"https?://", text)
    assert not re.search(r"@import|url\(", text)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    [policy] = [a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_every_link_inside_the_page_has_its_target(synthetic):
    reader = Reader(synthetic[1])
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {a["href"][1:] for a in reader.all("a")} <= set(names)


def test_every_figure_has_words_for_those_who_do_not_see_it(synthetic):
    folder, text = synthetic
    reader = Reader(text)
    assert reader.open == []
    assert reader.all("html") == [{"lang": "en"}]
    pictures = reader.all("img")
    assert len(pictures) > len(FIGURES)
    assert all(len(picture["alt"]) > 40 for picture in pictures)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, flags=re.DOTALL)
    assert len(captions) == len(reader.all("figure")) == len(FIGURES)
    assert all(len(caption) > 120 for caption in captions)
    assert sorted(path.stem for path in (folder / "figures").iterdir()) == sorted(spec.name for spec in FIGURES)


def test_every_caption_belongs_to_a_figure_and_the_other_way_round():
    found = {path.stem for path in (ROOT / "reports/captions").glob("*.md")}
    assert found == {*(spec.name for spec in FIGURES), "exemplars"}


def test_headings_go_down_one_level_at_a_time_and_tables_are_labelled(synthetic):
    reader = Reader(synthetic[1])
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(reader.all("caption")) == len(reader.all("table"))
    assert all(head.get("scope") in ("col", "row") for head in reader.all("th"))


def test_data_never_become_markup(tmp_path, undrawn):
    networks, layers = ("plain", EVIL.replace("/", "|")), ((EVIL, "Conv"), ("b.norm", "LayerNorm"))
    text = build_page(
        tmp_path, networks=networks, layers=layers, label=EVIL, title=EVIL, rejected=[(EVIL, EVIL), ("a.jpg", "empty")]
    )
    reader = Reader(text)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not [a for _, a in reader.tags if any(name.startswith("on") for name in a)]
    assert all(picture["src"].startswith("data:") for picture in reader.all("img"))
    # shown as written: as heading, in a table, as layer of an exemplar
    assert reader.text.count(EVIL) >= 5
    assert "1337" not in text
    assert any(EVIL in picture["alt"] for picture in reader.all("img"))


def test_synthetic_study_says_what_it_cannot_show_before_any_result(synthetic):
    text = Reader(synthetic[1]).text
    place = text.index("What this study cannot show")
    assert place < text.index("Most understandable network")
    limits = text[place : place + 600]
    assert "simulated" in limits
    assert "ImageNet" in limits
    assert "similarity predicts" in limits


def test_answers_are_called_simulated_wherever_they_are_shown(synthetic):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", synthetic[1], flags=re.DOTALL)
    about_people = [caption for caption in captions if "HIS" in caption]
    assert len(about_people) >= 3
    assert all("simulated" in caption for caption in about_people)
    assert "Agreement with simulated observers" in synthetic[1]
    assert "Agreement with people" not in synthetic[1]
    # rows of answers in the tests of pairs, which the table calls human
    assert "<td>simulated observers</td>" in synthetic[1]
    assert "<td>human</td>" not in synthetic[1]


def test_study_without_people_says_so_instead_of_empty_plots(custom):
    folder, text = custom
    words = Reader(text).text
    assert "No human answers in this study" in words
    assert "What this study cannot show" not in words
    assert "simulated" not in words[: words.index("Methods in plain words")]
    assert "not calibrated" in words
    assert "mean margin" in words
    assert "No figure: this study has no control units." in words
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert "agreement" not in drawn
    # the series exists all the same, with its header
    assert (folder / "plots/agreement.csv").read_text().startswith("backend,level,n,measure,value,low,high\n")
    assert len(list((folder / "plots").iterdir())) == len(FIGURES)


def test_answers_to_units_that_are_not_scored_are_no_agreement(tmp_path, undrawn):
    arguments = build(tmp_path, human=False)
    params = tmp_path / "params.yaml"
    content = YAML(typ="safe").load(params.read_text())
    content["human"] |= {"source": "table", "table": content["human"]["table"] | {"file": "answers.csv"}}
    with params.open("w") as file:
        YAML().dump(content, file)
    people = {"model": "other", "layer": "a", "unit": [0, 1, 2], "condition": "natural"}
    people |= {"n_responses": 30, "his": [0.5, 0.6, 0.7], "his_se": 0.1, "source": "table"}
    write_parquet(tmp_path / "human/units.parquet", pd.DataFrame(people))
    report.main(arguments)
    words = Reader((tmp_path / "report.html").read_text()).text
    assert "No human answers to the units of this study" in words
    assert "3 units have answers, but none of them is scored here" in words


def test_the_ceiling_stands_beside_its_caveat(synthetic):
    words = Reader(synthetic[1]).text
    assert "V4 errs low where answers are spread over tasks of unequal difficulty" in words
    assert words.index("V4 errs low") < words.index("Noise ceiling", words.index("V4 errs low"))


def test_new_questions_stand_where_they_belong(synthetic, custom):
    (_, shown), (_, bare) = synthetic, custom
    for caption in (
        "Single answers from margins",
        "Which similarity agrees better",
        "Easiest, random and hardest units of each network",
        "Scores of networks against facts about them",
        "Confidence and right answers",
    ):
        assert caption in shown, caption
    assert "encoder: H = 43.2 (4 groups, n = 400), p below 0.0001, ε² = 0.11; simulated observers: H" in shown
    # nothing is said of answers that nobody gave
    for caption in ("Single answers", "Which similarity agrees better", "Confidence and right answers", "Kruskal"):
        assert caption not in bare, caption


def test_margins_that_are_not_of_the_very_task_are_named_so(tmp_path, undrawn):
    arguments = build(tmp_path)
    path = tmp_path / "tables" / "trials.csv"
    path.write_text(path.read_text().replace(",task,", ",unit,"))
    report.main(arguments)
    text = "the mean margin of its unit (the very tasks that people saw are not scored here)"
    assert text in (tmp_path / "report.html").read_text()


def test_old_figures_do_not_outlive_their_data(tmp_path, undrawn):
    arguments = build(tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/old.svg").write_text("old")
    report.main(arguments)
    assert not (tmp_path / "figures/old.svg").exists()


def test_failed_controls_are_named_in_the_summary(tmp_path, undrawn):
    arguments = build(tmp_path, show_images=False)
    path = tmp_path / "tables/controls.csv"
    table = page.read_table(path)
    table.loc[(table["control"] == "hash") & (table["backend"] == "pixel"), "passed"] = 0
    table.to_csv(path, index=False)
    report.main(arguments)
    words = Reader((tmp_path / "report.html").read_text()).text
    judged = int(pd.to_numeric(table["passed"], errors="coerce").notna().sum())
    assert f"1 of {judged} controls failed" in words
    assert "hash, similarity pixel" in words
    assert f"{judged - 1} of {judged}" in words
    assert "All controls passed" not in words


def test_pictures_can_be_left_out(tmp_path, synthetic, undrawn):
    text = build_page(tmp_path, show_images=False)
    assert "data:image/jpeg" not in text
    assert "report.show_images: false" in text
    # four easiest and four hardest units a network
    assert synthetic[1].count("data:image/jpeg") == 8 * len(NETWORKS)


def test_headline_numbers_come_from_the_tables(synthetic):
    folder, text = synthetic
    table = page.read_table(folder / "tables/models.csv")
    rows = table[(table["backend"] == "encoder") & (table["role"] == "study")].sort_values("mis_mean")
    words = Reader(text).text
    for row in (rows.iloc[0], rows.iloc[-1]):
        assert f"{row['mis_mean']:.3f} {row['model']}, mean MIS" in words
        assert f"{row['mis_low']:.3f} to {row['mis_high']:.3f}" in words
    assert "N(K+1)/n = 50 %" in words
    # ceiling of people alone, beside the share of it that the leading similarity reaches outside the split
    assert "0.87 highest Pearson that the noise in HIS allows; MIS reaches 0.83 of it (0.77 to 0.88)" in words


def test_easiest_and_hardest_units_are_the_ends_of_the_ranking(synthetic):
    folder, text = synthetic
    units = pd.read_parquet(folder / "mis/units.parquet")
    lead = units[(units["backend"] == "encoder") & (units["model"] == NETWORKS[0])].sort_values("mis")
    block = text[text.index(f"<h3>{NETWORKS[0]}</h3>") : text.index(f"<h3>{NETWORKS[1]}</h3>")]
    easy, hard = block.split("Hardest units")
    best, worst = lead.iloc[-1], lead.iloc[0]
    assert f"{best['layer']} unit {best['unit']}: MIS {best['mis']:.3f}" in easy
    assert f"{worst['layer']} unit {worst['unit']}: MIS {worst['mis']:.3f}" in hard


def test_task_picture_puts_least_exciting_left_and_most_exciting_right():
    # picture i is a flat square of grey level i
    def grey(image, size):
        return Image.new("RGB", (size, size), (image, image, image))

    sheet = np.asarray(page.task_picture(np.full(9, 200), np.full(9, 10), 210, 20, grey))
    middle = sheet[sheet.shape[0] // 2, :, 0]
    levels = [int(level) for level in middle if level != 255]
    assert list(dict.fromkeys(levels)) == [10, 20, 210, 200]


def test_exemplar_uses_the_first_task_in_the_order_of_the_file(synthetic):
    folder, text = synthetic
    keys = pd.read_parquet(folder / f"tasks/{NETWORKS[0]}.parquet")
    units = pd.read_parquet(folder / "mis/units.parquet")
    lead = units[(units["backend"] == "encoder") & (units["model"] == NETWORKS[0])]
    best = lead.loc[lead["mis"].idxmax()]
    row = keys.index[(keys["layer"] == best["layer"]) & (keys["unit"] == best["unit"])].item()
    task = np.load(folder / f"tasks/{NETWORKS[0]}.npy")[row, 0]
    pixels = np.load(folder / "images/pixels.npy")
    uri = re.search(r'src="data:image/jpeg;base64,([^"]+)"', text[text.index("Easiest units") :]).group(1)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))).astype(float)
    first = sheet[: page.THUMBNAIL, : page.THUMBNAIL].mean((0, 1))
    # position K is the first explanation of the negative side; JPEG keeps a mean to a few grey levels
    np.testing.assert_allclose(first, pixels[task[N_EXPLANATIONS]].mean((0, 1)), atol=6)
    assert np.abs(first - pixels[task[0]].mean((0, 1))).max() > 6


def test_long_tables_are_cut_and_say_where_the_rest_is():
    frame = pd.DataFrame({"model": [f"m{i}" for i in range(250)], "n": range(250)})
    columns = {"model": ("network", page.text), "n": ("n", page.count)}
    table = page.make_table(frame, "Many", columns, file="results/tables/many.csv")
    assert len(table.rows) == page.MOST_ROWS
    assert "250" in table.note
    assert "results/tables/many.csv" in table.note
    assert page.make_table(frame.head(0), "None", columns, file="f") is None


def test_a_missing_column_is_named():
    with pytest.raises(StudyError, match=r"t\.csv: column top1 is missing; it has model"):
        page.make_table(pd.DataFrame({"model": ["a"]}), "c", {"top1": ("top-1", page.count)}, file="t.csv")


def test_names_that_look_like_numbers_stay_names(tmp_path):
    (tmp_path / "t.csv").write_text("model,backend,mis_mean\n050,null,0.5\n1e3,NA,\n")
    frame = page.read_table(tmp_path / "t.csv")
    assert frame["model"].tolist() == ["050", "1e3"]
    assert frame["backend"].tolist() == ["null", "NA"]
    assert frame["mis_mean"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("value", "shown"), [(1.0, "✓ passed"), (0, "✗ FAILED"), (float("nan"), "–"), ("", "–")])
def test_outcomes_are_words(value, shown):
    assert page.mark(value) == shown


def test_numbers_are_shown_as_people_write_them():
    assert page.count(1281167) == "1,281,167"
    assert page.p_value(3e-9) == "below 0.0001"
    assert page.percent(0.000156) == "0.016 %"
    assert page.percent(0.05) == "5 %"
    assert page.interval(0.5, float("nan")) == "–"
    assert page.interval(0.51234, 0.6) == "0.512 to 0.600"


def test_a_caption_without_title_or_file_is_an_error_that_names_it(tmp_path):
    environment = page.make_environment(tmp_path)
    (tmp_path / "a.md").write_text("no title\n")
    with pytest.raises(StudyError, match=r"a\.md: the first line is 'no title'"):
        page.read_caption(tmp_path / "a.md", environment, {})
    with pytest.raises(StudyError, match=r"b\.md: no such file"):
        page.read_caption(tmp_path / "b.md", environment, {})


def test_values_in_captions_are_escaped(tmp_path):
    environment = page.make_environment(tmp_path)
    (tmp_path / "a.md").write_text("# Of {{ lead }}\n\nText on {{ lead }}.\n")
    title, paragraphs = page.read_caption(tmp_path / "a.md", environment, {"lead": "<b>"})
    # the title is plain text, which the page escapes; paragraphs are ready markup
    assert title == "Of <b>"
    assert type(title) is str
    assert paragraphs == ("Text on &lt;b&gt;.",)
