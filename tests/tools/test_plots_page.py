"""Plots of DVC: their definitions fit the tables, and their pages need nothing but themselves."""

import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import vl_convert
from ruamel.yaml import YAML

from interpretability.errors import InputError
from tests.helpers.browser import Browser
from tests.helpers.programs import needs
from tests.helpers.rules import ROOT
from tools import plots_page

PLOTS = {
    name: plot
    for entry in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["plots"]
    for name, plot in entry.items()
}
FOLDER = ROOT / ".dvc/plots"
OF_DVC = {"rev", "<DVC_METRIC_X>", "<DVC_METRIC_Y>"}
PAGE = (FOLDER / "page.html").read_text()


def table_of(plot):
    (table,) = plot["y"]
    return table


def named_columns(node, made=frozenset()):
    """Columns that a template takes from the table: fields and datum.NAME, without those that it calculates."""
    text = json.dumps(node)
    made = set(re.findall(r'"as": "(\w+)"', text))
    return (set(re.findall(r'"field": "([^"]+)"', text)) | set(re.findall(r"datum\.(\w+)", text))) - made - OF_DVC


@pytest.mark.parametrize("name", PLOTS)
def test_every_column_of_a_plot_is_in_its_table(name):
    plot = PLOTS[name]
    columns = (ROOT / table_of(plot)).read_text().splitlines()[0].split(",")
    used = named_columns(json.loads((FOLDER / f"{plot['template']}.json").read_text()))
    used |= {plot["x"], *plot["y"].values()}
    assert used <= set(columns)
    assert {"mis_low", "low", "pearson_low", "mis_se"} & used, "every plot shows how sure it is"


def test_every_plot_has_words_and_a_template_of_its_own():
    assert {path.stem for path in FOLDER.glob("*.json")} == {plot["template"] for plot in PLOTS.values()}
    for plot in PLOTS.values():
        assert all(plot[name] for name in ("title", "x_label", "y_label"))


def test_columns_of_a_template_are_found():
    spec = {
        "transform": [{"calculate": "datum.a + 1", "as": "b"}],
        "encoding": {"x": {"field": "b"}, "y": {"field": "c"}},
    }
    assert named_columns(spec) == {"a", "c"}


def test_library_goes_into_the_page_in_its_own_scope():
    page = plots_page.with_library(PAGE, "const x = 1;")
    assert "<script>\n(() => {\nconst x = 1;\n})();\n</script>" in page
    assert page.count("{plot_divs}") == 1
    assert plots_page.LIBRARY not in page


@pytest.mark.parametrize("script", ["</script>", "a <!-- b", "'{plot_divs}'"])
def test_library_that_would_break_the_page_is_refused(script):
    with pytest.raises(InputError, match="no page can carry inline"):
        plots_page.with_library(PAGE, script)


def test_page_without_a_place_for_the_library_is_refused():
    with pytest.raises(InputError, match="0 places <!-- drawing library -->"):
        plots_page.with_library("{plot_divs}", "")


def test_missing_package_names_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(InputError, match="Run `make plots`"):
        plots_page.library()


def test_other_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"page\.html: no such file"):
        plots_page.main(["--dvc", str(tmp_path / ".dvc")])


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The plots and the committed tables alone, in a DVC repository whose template has no library yet."""
    folder = tmp_path_factory.mktemp("plots")
    shutil.copytree(FOLDER, folder / ".dvc/plots")
    settings = (ROOT / ".dvc/config").read_text()
    (folder / ".dvc/config").write_text(settings.replace("[core]\n", "[core]\n    no_scm = true\n"))
    shutil.copytree(ROOT / "results", folder / "results")
    with (folder / "dvc.yaml").open("w") as file:
        YAML().dump({"plots": [{name: plot} for name, plot in PLOTS.items()]}, file)
    return folder


def drawn(folder):
    """The page that `dvc plots show` writes."""
    subprocess.run([sys.executable, "-m", "dvc", "plots", "show", "-q"], cwd=folder, check=True)
    return (folder / "dvc_plots/index.html").read_text()


def specs(page):
    return {
        name: json.loads(spec)
        for name, spec in re.findall(r'<div id = "(\w+)">\s*<script[^>]*>\s*var spec = (.*);\n', page)
    }


@pytest.fixture(scope="module")
def pages(repository):
    """What `dvc plots show` writes without and with the library, of a study without people."""
    (repository / "results/tables/agreement.csv").write_text("backend,level,units,n,pearson\n")
    before = drawn(repository)
    plots_page.main(["--dvc", str(repository / ".dvc")])
    return before, drawn(repository)


def test_pages_say_what_to_run_until_the_library_is_there_and_then_carry_it(pages):
    before, after = pages
    assert "make plots" in before
    assert len(before) < 2_000_000
    assert "window.drawPlot=" in after.replace(" ", "")
    for page in (before, after):
        assert not re.search(r"<script[^>]* src|<link", page), "nothing is fetched"
        assert "default-src 'none'" in page
        found = specs(page)
        assert set(found) == set(PLOTS)
        assert found.pop("agreement") == {}, "a table without rows; page.html says so in its place"
        assert found["models"]["title"] == PLOTS["models"]["title"]
        assert "DVC_METRIC" not in json.dumps(found)
        assert found["models"]["data"]["values"][0]["rev"] == "workspace"
    for name, spec in found.items():
        drawing = vl_convert.vegalite_to_svg(spec)
        marks = drawing.count('aria-roledescription="point"')
        assert marks >= 4, f"{name} draws its rows"
        assert "NaN" not in drawing
        assert "undefined" not in drawing
    models = pd.read_csv(ROOT / "results/tables/models.csv").query("role == 'study' and last == 1")
    assert vl_convert.vegalite_to_svg(found["models"]).count('aria-roledescription="point"') == len(models)


def variables(text, dark):
    """Colours of a scheme by the name of the variable."""
    media = r"@media (?:screen and )?\(prefers-color-scheme: dark\) \{ " if dark else ""
    block = re.search(rf"^{media}:root \{{([^}}]*)\}}", text, re.MULTILINE)
    assert block
    return dict(re.findall(r"(--\w+): (#[0-9a-f]{3,6})", block[1]))


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_those_of_the_report(dark):
    of_report = variables((ROOT / "reports/template/style/base.css").read_text(), dark)
    found = variables(PAGE, dark)
    assert {"--page", "--ink", "--soft", "--c0", "--c6"} <= set(found)
    assert found == {name: of_report[name] for name in found}


@needs("Chromium")
@pytest.mark.usefixtures("pages")
def test_plots_follow_light_and_dark(repository):
    with Browser() as tab:
        for dark in (False, True):
            tab.media(**{"prefers-color-scheme": "dark" if dark else "light"})
            if not dark:  # plots that are drawn already are drawn anew
                tab.open(repository / "dvc_plots/index.html", width=390)
            scheme = variables(PAGE, dark)
            marks = "[...document.querySelectorAll('#models svg [stroke], #models svg [fill]')]"
            colours = f"{marks}.flatMap(e => [e.getAttribute('stroke'), e.getAttribute('fill')])"
            tab.wait(f"{colours}.includes('{scheme['--c0']}') || null")
            assert {scheme["--line"], scheme["--soft"], scheme["--ink"]} <= set(tab.run(colours))
            paper = "getComputedStyle(document.querySelector('#models svg')).backgroundColor"
            assert tab.run(f"{paper} === getComputedStyle(document.body).backgroundColor")
            assert tab.run("document.documentElement.scrollWidth") <= 390
            assert tab.problems == []
