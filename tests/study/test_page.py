"""The report page: self-contained, escaped, the same bytes twice, complete also where a study lacks data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from interpretability.errors import InputError
from stages import report
from study.files.tables import write_csv, write_parquet
from study.report.figures import base
from study.report.figures.base import SECTIONS
from study.report.figures.items import GALLERY, MADE_GALLERY
from study.report.figures.registry import FIGURES
from study.report.page import cells, sections, template, views
from study.report.page.inputs import read_table
from tests.helpers.report_fixture import NETWORKS, ROOT, build

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
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def build_page(folder: Path, **options) -> str:
    report.main(build(folder, **options))
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    with pytest.MonkeyPatch.context() as patch:
        draw_few(patch)
        return folder, build_page(folder, made=True)


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("custom")
    with pytest.MonkeyPatch.context() as patch:
        leave_undrawn(patch)
        return folder, build_page(folder, human=False)


def blank(spec, frame, study, title, *, narrow):
    """Stands in for a drawing where a test is about something else: drawing takes most of the time."""
    return f"<svg><title>{spec.name} {len(frame)} {narrow}</title></svg>"


def leave_undrawn(patch):
    patch.setattr(base, "render", blank)
    patch.setattr(base, "render_files", lambda *drawn: (blank(*drawn, narrow=False), b"%PDF"))


DRAWN = ("models_ranked", "mis_against_his", "depth")


def draw_few(patch):
    """Only DRAWN are drawn: test_figures draws them all, and each takes most of a second in its three forms."""
    svg, files = base.render, base.render_files
    leave_undrawn(patch)
    blank_files = base.render_files
    patch.setattr(base, "render", lambda spec, *rest, **how: (svg if spec.name in DRAWN else blank)(spec, *rest, **how))
    patch.setattr(base, "render_files", lambda spec, *rest: (files if spec.name in DRAWN else blank_files)(spec, *rest))


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    """No pictures, V4 leads, margins are of units, a control failed; a figure of another study is left."""
    folder = tmp_path_factory.mktemp("altered")
    arguments = build(folder, show_images=False)
    ceilings, trials, controls = (folder / f"tables/{name}.csv" for name in ("noise_ceiling", "trials", "controls"))
    table = read_table(ceilings)
    table = table[table["variant"] != "V4w"]
    write_csv(ceilings, table.assign(leads=(table["variant"] == "V4").astype(int)))
    trials.write_text(trials.read_text().replace(",task,", ",unit,"))
    table = read_table(controls)
    table.loc[(table["control"] == "hash") & (table["backend"] == "pixel"), "passed"] = 0
    table.to_csv(controls, index=False)
    (folder / "figures").mkdir()
    (folder / "figures/old.svg").write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        leave_undrawn(patch)
        report.main(arguments)
    return folder, (folder / "report.html").read_text()


@pytest.fixture
def undrawn(monkeypatch):
    leave_undrawn(monkeypatch)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in ("plots", "figures", "report.html")
        for path in sorted([folder / name, *(folder / name).glob("*")])
        if path.is_file()
    }


def test_two_builds_in_different_folders_give_the_same_bytes(synthetic, tmp_path, monkeypatch):
    folder, _ = synthetic
    draw_few(monkeypatch)
    build_page(tmp_path / "elsewhere", made=True)
    first, second = files(folder), files(tmp_path / "elsewhere")
    assert len(first) == 3 * len(FIGURES) + 2  # series, SVG and PDF of each; the list of the papers' figures; the page
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
    assert not re.search(r'@import|url\((?!"data:image/webp;)', text)
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert not [attributes for attributes in reader.all("script") if "src" in attributes]


def test_the_policy_allows_this_script_and_no_other(synthetic):
    reader = Reader(synthetic[1])
    [policy] = [a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    [script] = re.findall(r"<script>(.*?)</script>", synthetic[1], flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_every_link_inside_the_page_has_its_target(synthetic):
    reader = Reader(synthetic[1])
    names = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(names) == len(set(names))
    links = {a["href"][1:] for a in reader.all("a")}
    units = {link for link in links if link.startswith("units?")}  # an address that the script reads
    assert links - units <= set(names)
    assert all(re.fullmatch(r"units\?unit=\w+%2F[\w.]+%2F\d+%2F\w+", link) for link in units)


def test_every_figure_has_words_for_those_who_do_not_see_it(synthetic):
    folder, text = synthetic
    reader = Reader(text)
    assert reader.open == []
    assert reader.all("html") == [{"lang": "en"}]
    assert reader.all("img") == []
    named = [a for _, a in reader.tags if a.get("role") == "img"]
    drawings = [a for a in named if a.get("class") in ("figure", "panels")]
    assert len(drawings) == len(FIGURES)
    assert {each["class"] for each in drawings} == {"figure", "panels"}
    assert all(len(each["aria-label"]) > 40 for each in drawings)
    others = named[: -len(drawings)]
    assert others  # grids of the first task and of the cards
    assert all(len(each["aria-label"]) > 15 for each in others)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, flags=re.DOTALL)
    of_figures = [caption for caption in captions if "Series: results/plots/" in caption]
    assert len(of_figures) == len(FIGURES)
    assert len(captions) == len(reader.all("figure")) == len(FIGURES) + 1  # the distribution of the first screen
    assert all(len(caption) > 120 for caption in of_figures)
    written = sorted(path.name for path in (folder / "figures").iterdir())
    assert written == sorted(f"{spec.name}.{kind}" for spec in FIGURES for kind in ("pdf", "svg"))


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
        tmp_path,
        networks=networks,
        layers=layers,
        label=EVIL,
        title=EVIL,
        rejected=[(EVIL, EVIL), ("a.jpg", "empty")],
        prefix=EVIL,
    )
    reader = Reader(text)
    # the two scripts of the page, and no other
    assert [attributes.get("type") for attributes in reader.all("script")] == ["application/json", None]
    assert not [a for _, a in reader.tags if any(name.startswith("on") for name in a)]
    assert all(picture["src"].startswith("data:") for picture in reader.all("img"))
    # shown as written: as heading, in a table, as layer and label of a unit
    assert reader.text.count(EVIL) >= 5
    assert "1337" not in text
    assert any(EVIL in attributes.get("aria-label", "") for _, attributes in reader.tags)
    # and in the data of the gallery, from which no markup can begin
    data = re.search(r'<script id="unit-data" type="application/json">(.*?)</script>', text, flags=re.DOTALL)[1]
    assert not {"<", ">", "&"} & set(data)
    content = json.loads(data)
    assert any(EVIL in label for label in content["labels"])
    assert any(EVIL in words for words in content["texts"]["words"])
    assert all(path.startswith(EVIL) for path in content["path"])
    assert EVIL in {layer[1] for layer in content["layers"]}


def test_synthetic_study_says_what_it_cannot_show_before_any_result(synthetic):
    text = Reader(synthetic[1]).text
    assert "Four small networks, generated pictures, simulated observers. " in text
    place = text.index("The pictures are drawn by a program")
    assert place < text.index("mean MIS of")
    limits = text[place : place + 600]
    assert "simulated" in limits
    assert "ImageNet" in limits
    assert "similarity predicts" in limits


def test_layers_without_units_are_counted_with_their_reasons(synthetic, custom):
    text = Reader(synthetic[1]).text
    assert "2 more layers of these types, in 2 networks, give no units: never called in a pass (2)." in text
    assert "Layers that give no units, by reason 3 rows" in text
    assert "vit.qkv" in text
    assert "Every other layer of these types gives units." in Reader(custom[1]).text


def test_how_networks_ran_is_said_of_all_that_ran(tmp_path, undrawn):
    arguments = build(tmp_path)
    path = tmp_path / "provenance.json"
    content = json.loads(path.read_text())
    n, fell_back = len(NETWORKS) + 20, [f"checkpoint{number}" for number in range(21)]  # more than the page ranks
    content["params"]["activations"]["precision"] = "tf32"
    content |= {"ran_in": dict.fromkeys(fell_back, "float32"), "forms": {"checkpoint0": "compiled"}, "n_networks": n}
    path.write_text(json.dumps(content))
    report.main(arguments)
    text = Reader((tmp_path / "report.html").read_text()).text
    assert f"21 of {n} networks ran in float32, because their device knows no tf32: checkpoint0, checkpoint1, " in text
    assert f"1 of {n} networks ran compiled, which changes last bits: checkpoint0." in text
    assert "n_networks" in text
    assert "forms.checkpoint0" not in text, "a line a network"


def test_answers_are_called_simulated_wherever_they_are_shown(synthetic):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", synthetic[1], flags=re.DOTALL)
    about_people = [caption for caption in captions if "HIS" in caption]
    assert len(about_people) >= 3
    assert all("simulated" in caption for caption in about_people)
    assert "the answers of simulated observers: r = " in synthetic[1]
    assert "the answers of people" not in synthetic[1]
    # rows of answers in the tests of pairs, which the table calls human
    assert "<td>simulated observers</td>" in synthetic[1]
    assert "<td>human</td>" not in synthetic[1]


def test_study_without_people_says_so_instead_of_empty_plots(custom):
    folder, text = custom
    words = Reader(text).text
    assert "No human answers in this study" in words
    assert "Four networks, 400 pictures, no human answers, level of scores by convention." in words
    assert "drawn by a program" not in words
    assert "simulated" not in words[: words.index("Not in this study:")]
    assert "not calibrated" in words
    assert "mean margin" in words
    # what there is no data for stands in one line at the end, with reasons, and the questions that stay open
    lacking = words[words.index("Not in this study:") : words.index("Methods For each unit")]
    assert {"human answers", "control units", "checkpoints"} <= set(
        lacking.removeprefix("Not in this study: ").split(", ")
    )
    assert (
        "planted mixtures this study has no planted mixtures. So there is no answer to: Does the measurement find"
        in lacking
    )
    assert (
        "human answers this study has no human answers. So there is no answer to: Does the score agree with people? How"
        in lacking
    )
    assert "Which networks are understandable?" not in lacking
    assert '<section class="question" id="ranking"' in text
    assert '<section class="question" id="people"' not in text
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert "agreement" not in drawn
    # the series exists all the same, with its header
    assert (folder / "plots/agreement.csv").read_text().startswith("backend,level,n,measure,value,low,high\n")
    assert {path.stem for path in (folder / "plots").iterdir()} == {"figures", *(spec.name for spec in FIGURES)}


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
    assert "V4w leads here: every answer carries its task" in words
    assert words.index("V4w leads here") < words.index("Noise ceiling", words.index("V4w leads here"))
    assert "true score against recorded HIS, noise from answers to the same task (leads)" in words
    assert "0.86 to 0.90 (not calibrated)" in words
    assert "0.84 to 0.89 (not calibrated)" not in words


def test_without_tasks_v4_leads_as_a_lower_bound(altered):
    words = Reader(altered[1]).text
    assert "V4 leads here, as a lower bound" in words
    assert "lower bound of the highest Pearson that the noise in HIS allows" in words
    assert "lets a perfect score reach at least r = " in words
    assert "the true score against recorded answers (V4), not the wording" in words


def test_margins_that_are_not_of_the_very_task_are_named_so(altered):
    assert "the mean margin of its unit (the very tasks that people saw are not scored here)" in altered[1]


def test_old_figures_do_not_outlive_their_data(altered):
    assert not (altered[0] / "figures/old.svg").exists()


def test_failed_controls_are_named_before_anything_is_opened(altered):
    folder, text = altered
    words = Reader(text).text
    judged = int(pd.to_numeric(read_table(folder / "tables/controls.csv")["passed"], errors="coerce").notna().sum())
    assert f"1 of {judged} controls failed, four small networks, generated pictures, simulated observers." in words
    assert "came out as they should" not in words
    assert f"1 of {judged} checks with an answer known beforehand failed" in words
    # beside that line, and not among what lies closed
    block = text.split('<section class="question" id="controls"')[1].split("<template>")[0]
    assert '<ul class="failed">\n<li>hash, similarity pixel' in block


def test_human_scores_have_an_interval_for_other_people(synthetic):
    words = Reader(synthetic[1]).text
    heads = words[words.index("Human scores of networks") :]
    assert heads.index("other units and people") < heads.index("other units, these people")
    assert "bca_low, bca_high" in words


def test_new_questions_stand_where_they_belong(synthetic, custom):
    (_, shown), (_, bare) = synthetic, custom
    for caption in (
        "Single answers from margins",
        "Which similarity agrees better",
        "Easiest, random and hardest units of each network",
        "Confidence and right answers",
    ):
        assert caption in shown, caption
    assert "encoder: H = 43.2 (4 groups, n = 400), p below 0.0001, ε² = 0.11; simulated observers: H" in shown
    # nothing is said of answers that nobody gave
    for caption in ("Single answers", "Which similarity agrees better", "Confidence and right answers", "Kruskal"):
        assert caption not in bare, caption


def test_scores_of_few_networks_are_correlated_with_nothing(synthetic, tmp_path, undrawn):
    tables = "Scores of networks against facts about them", "Scores of layers against depth and width"
    four, five = synthetic[1], build_page(tmp_path, networks=(*NETWORKS, "swin"))
    reasons = (
        "No correlation is given, as these are fewer than 5 networks, or all have the same value.",
        "No correlation is given, as these are fewer than 5 networks.",
        "Scores of layers are not correlated with depth or width here",
        "Marks alone",
    )
    for caption in tables:
        assert caption in five
        assert caption not in four
    for reason in reasons:
        assert reason in four
    for reason in reasons[1:]:
        assert reason not in five
    assert "Correlations are over few marks" in five


def test_a_page_that_is_too_large_is_refused_with_the_keys_to_lower(tmp_path, undrawn, monkeypatch):
    monkeypatch.setattr(template, "MOST_BYTES", 100_000)
    with pytest.raises(InputError, match=r"report\.html would have .* MB, at most 0 are allowed.*report\.n_pictures"):
        build_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_headline_numbers_come_from_the_tables(synthetic):
    folder, text = synthetic
    table = read_table(folder / "tables/models.csv")
    rows = table[(table["backend"] == "encoder") & (table["role"] == "study")].sort_values("mis_mean")
    words = Reader(text).text
    last, best = rows.iloc[0], rows.iloc[-1]
    # the fixture has no tests between networks, so nothing is claimed of them
    said = f"Units of {best['model']} score {best['mis_mean']:.2f} , units of {last['model']} {last['mis_mean']:.2f} , where"
    assert said in words
    assert (
        f"{best['model']} and {last['model']} are not compared by a test: no test between networks was made." in words
    )
    for row in (best, last):
        assert (
            f"{row['model']} {row['mis_mean']:.3f} ({row['mis_low']:.3f} to {row['mis_high']:.3f} over units" in words
        )
    mean = (rows["mis_mean"] * rows["n_units"]).sum() / rows["n_units"].sum()
    assert re.search(rf"mean MIS of {rows['n_units'].sum():,} units; guessing scores 0\.500 {mean:.3f} \d", words)
    assert "N(K+1)/n = 50 %" in words
    # the ceiling of people alone, and the share of it that the leading similarity reaches outside the split
    assert "Noise ceiling of simulated answers: 0.87, the highest Pearson that the noise in HIS allows." in words
    assert "of the correlation that noise in simulated answers allows 83 % 77 to 88 %" in words


def test_every_question_has_its_figures_and_tables(synthetic):
    text = synthetic[1]
    assert {spec.section for spec in sections.TABLE_SPECS} <= {*(key for key, _ in SECTIONS), "records"}
    names = [spec.name for spec in sections.TABLE_SPECS]
    assert len(set(names)) == len(names)
    assert {spec.after for spec in sections.TABLE_SPECS} - {""} <= {spec.name for spec in FIGURES}
    for spec in FIGURES:
        block = text[text.index(f'<section class="question" id="{spec.section}"') :]
        assert f'id="figure-{spec.name}"' in block[: block.index("</section>")]
    asked = {
        "people": "Does the score agree with simulated observers?",
        "human": "What do the answers of simulated observers look like?",
    }
    for key, question in SECTIONS:
        start = text[text.index(f'<section class="question" id="{key}"') :].split('<details class="held">')[0]
        assert f">{asked.get(key, question)}</h3>" in start
        # its answer and one figure stand outside of what lies closed
        assert start.count('<p class="answer">') == start.count('<figure class="drawn') == 1


def test_the_list_of_the_papers_figures_leads_to_them(synthetic):
    folder, text = synthetic
    block = text[text.index('<section id="papers"') :]
    block = block[: block.index("</section>")]
    listed = pd.read_csv(folder / "plots/figures.csv", dtype=str, keep_default_na=False)
    assert block.count("<tr>") == len(listed) + 1
    built = listed[listed["state"] == "built"]
    assert len(built) > 10
    for name in built["ours"]:
        assert f'href="#{"units" if name in (GALLERY, MADE_GALLERY) else f"figure-{name}"}"' in block


def test_a_paper_stands_beside_a_figure_that_names_one(tmp_path, undrawn, monkeypatch):
    told = replace(FIGURES[0], paper="<i>MIS</i>, figure 1", reported="between .80 & .91")
    monkeypatch.setattr(views, "FIGURES", (told, *(replace(spec, paper="", reported="") for spec in FIGURES[1:])))
    text = build_page(tmp_path)
    assert "<dd>&lt;i&gt;MIS&lt;/i&gt;, figure 1</dd>" in text
    assert "<dd>between .80 &amp; .91</dd>" in text
    assert text.count('<dl class="paper">') == 1


def test_long_tables_are_cut_and_say_where_the_rest_is():
    frame = pd.DataFrame({"model": [f"m{i}" for i in range(250)], "n": range(250)})
    columns = {"model": ("network", cells.text), "n": ("n", cells.count)}
    table = cells.make_table(frame, "Many", columns, file="many.csv")
    assert len(table.rows) == cells.MOST_ROWS
    assert "250" in table.note
    assert "results/tables/many.csv" in table.note
    assert cells.make_table(frame.head(0), "None", columns, file="f") is None


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match=r"t\.csv: column top1 is missing; it has model"):
        cells.make_table(pd.DataFrame({"model": ["a"]}), "c", {"top1": ("top-1", cells.count)}, file="t.csv")


def test_names_that_look_like_numbers_stay_names(tmp_path):
    (tmp_path / "t.csv").write_text("model,backend,mis_mean\n050,null,0.5\n1e3,NA,\n")
    frame = read_table(tmp_path / "t.csv")
    assert frame["model"].tolist() == ["050", "1e3"]
    assert frame["backend"].tolist() == ["null", "NA"]
    assert frame["mis_mean"].isna().tolist() == [False, True]


def test_missing_numbers_are_no_text_and_missing_names_are(tmp_path):
    (tmp_path / "t.csv").write_text("model,reason,mis_mean\na,,\nb,,\n")
    frame = read_table(tmp_path / "t.csv")
    assert frame["reason"].tolist() == ["", ""]
    assert frame["mis_mean"].dtype == float
    assert frame["mis_mean"].isna().all()
    (tmp_path / "t.csv").write_text("model,mis_mean\n")
    assert read_table(tmp_path / "t.csv")["mis_mean"].dtype == float


@pytest.mark.parametrize(("value", "shown"), [(1.0, "✓ passed"), (0, "✗ FAILED"), (float("nan"), "–"), ("", "–")])
def test_outcomes_are_words(value, shown):
    assert cells.mark(value) == shown


def test_numbers_are_shown_as_people_write_them():
    assert cells.count(1281167) == "1,281,167"
    steps = {0: "0", 1 / 600: "0.00167", 0.105263: "0.105", 1: "1", 1250: "1,250", None: "–"}
    assert [cells.step(value) for value in steps] == list(steps.values())
    assert cells.p_value(3e-9) == "below 0.0001"
    assert cells.percent(0.000156) == "0.016 %"
    assert cells.percent(0.05) == "5 %"
    assert cells.interval(0.5, float("nan")) == "–"
    assert cells.interval(0.51234, 0.6) == "0.512 to 0.600"


def test_a_caption_without_title_or_file_is_an_error_that_names_it(tmp_path):
    environment = template.make_environment(tmp_path)
    (tmp_path / "a.md").write_text("no title\n")
    with pytest.raises(InputError, match=r"a\.md: the first line is 'no title'"):
        views.read_caption(tmp_path / "a.md", environment, {})
    with pytest.raises(InputError, match=r"b\.md: no such file"):
        views.read_caption(tmp_path / "b.md", environment, {})


def test_captions_are_plain_text_whatever_they_hold(tmp_path, undrawn):
    environment = template.make_environment(tmp_path)
    (tmp_path / "a.md").write_text("# Of {{ lead }}\n\nText on {{ lead }} & <i>more</i>.\n\n  Second\n  block.\n")
    title, paragraphs = views.read_caption(tmp_path / "a.md", environment, {"lead": "<b>"})
    assert (title, paragraphs) == ("Of <b>", ("Text on <b> & <i>more</i>.", "Second block."))
    # on the page nothing of it is markup
    arguments = build(tmp_path)
    captions = tmp_path / "captions"
    shutil.copytree(ROOT / "reports/captions", captions)
    evil = EVIL.replace("{{ 7 * 191 }}", "")
    for name in (FIGURES[0].name, "exemplars"):
        (captions / f"{name}.md").write_text(f"# Title {evil}\n\nText {evil} javascript:alert(1)\n")
    arguments[arguments.index("--captions") + 1] = str(captions)
    report.main(arguments)
    reader = Reader((tmp_path / "report.html").read_text())
    assert reader.text.count(evil) == 4
    assert len(reader.all("script")) == 2
    assert not [a for _, a in reader.tags if any(name.startswith("on") for name in a)]


def test_slopes_that_answers_do_not_tell_are_named_with_their_reason(synthetic, custom):
    words, bare = (Reader(page).text for _, page in (synthetic, custom))
    assert "Slope not identified: null" in words
    assert (
        "null: why null. Correlation with simulated observers 0.00 (−0.06 to 0.05), which does not exclude 0" in words
    )
    assert "*: slope not identified, so levels compare with no others" in words
    assert "null (slope not identified)" in words
    assert "not identified" not in bare


def test_levels_stand_beside_their_ranges(synthetic, custom):
    (folder, page), (_, bare) = synthetic, custom
    words = Reader(page).text
    models = read_table(folder / "tables/models.csv")
    best = models[(models["backend"] == "encoder") & (models["role"] == "study")].sort_values("mis_mean").iloc[-1]
    ends = [f"{best[f'mis_{kind}_low']:.3f} to {best[f'mis_{kind}_high']:.3f}" for kind in ("slope", "splits")]
    assert f"over units; {ends[0]} over the interval of the slope; {ends[1]} over other calibration splits" in words
    assert "over the slope’s interval" in words
    # a slope that nobody calibrated has no interval
    assert "over the interval of the slope" not in Reader(bare).text
    # tasks of the fixture take half of its pictures on either side
    for text in (words, Reader(bare).text):
        assert text.count("Tasks take 50 % of all pictures on either side (above 5 %)") == 2


def test_other_seeds_stand_in_the_ranking(synthetic, custom):
    words = Reader(synthetic[1]).text
    place = words.index("What would another seed give?")
    assert words.index("Which networks are understandable?") < place < words.index("How far apart are the easiest")
    assert "The study under 3 seeds, similarity encoder" in words
    assert "Levels do not stand" in words
    assert "mean HIS (simulated observers) of" in words
    assert "another seed" not in Reader(custom[1]).text
