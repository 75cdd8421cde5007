"""Versions side by side: which version a name means, and that the page shows what differs and nothing but data."""

import html.parser
import json
import re
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.errors import InputError
from tests.helpers.axe import violations
from tests.helpers.browser import Browser
from tests.helpers.programs import needs
from tests.helpers.rules import ROOT
from tools import compare
from tools.versions import comparison, reading, revisions

TEMPLATE = str(ROOT / "reports/compare.html.j2")
STYLE = str(ROOT / "reports/template/style")
HOSTILE = '<script>alert("x")</script>'


def git(folder, *arguments):
    fixed = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *fixed, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def table(folder, name, *lines):
    path = folder / "results/tables" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write(folder, k=9, mis=0.75, digest="aaaaaaaaaa", passed=1, models=("net", "other"), scores="", pixel="calibrated"):
    """Fabricated results of one version; `scores` is the digest of its data/mis."""
    params = {"seed": 0, "stats": {"confidence": 0.95}, "scores": {"backends": ["encoder", "pixel"]}}
    params["tasks"] = {"n_explanations": k}
    models_rows = [
        f"{model},{backend},study,1,{mis - place / 10:g},{mis - place / 10 - 0.01:g},{mis - place / 10 + 0.01:g},"
        + ("calibrated" if backend == "encoder" else pixel)
        for backend in ("encoder", "pixel")
        for place, model in enumerate(models)
    ]
    models_rows.append("net-step0,encoder,study,0,0.6,0.59,0.61,calibrated")
    table(folder, "models", "model,backend,role,last,mis_mean,mis_low,mis_high,slope_status", *models_rows)
    table(
        folder, "layer_types", "model,backend,layer_type,mis_mean,mis_low,mis_high", f"net,encoder,Conv,{mis:g},0.7,0.8"
    )
    agreed = [
        "encoder,unit,outside_split,0.5,0.4,0.6",
        "encoder,model,outside_split,0.95,,",
        "encoder,unit,all,0.9,0.8,0.95",
    ]
    table(folder, "agreement", "backend,level,units,pearson,pearson_low,pearson_high", *agreed)
    ceilings = [
        "easy,,V4,0.7,0.6,0.8,all,,,",
        "easy,,V1,0.8,0.7,0.9,all,,,",
        "easy,encoder,V4,,,,outside_split,0.7,0.6,0.8",
    ]
    table(folder, "noise_ceiling", "subset,backend,variant,mean,low,high,units,share,share_low,share_high", *ceilings)
    table(
        folder, "controls", "backend,control,factor,rho,passed", f"encoder,hash,,,{passed}", "encoder,untrained:net,,,"
    )
    (folder / "results/metrics.json").write_text(json.dumps({"mis_mean": mis, "n_units": 1234}))
    digests = {"images": digest, "task_rule": {"n_tasks": 20}}
    provenance = {
        "params": params,
        "digests": digests,
        "packages": {"numpy": "2.0"},
        "python": "3.11",
        "device_kinds": ["cpu"],
    }
    (folder / "results/provenance.json").write_text(json.dumps(provenance))
    (folder / "params.yaml").write_text(json.dumps(params))
    lock = {
        "stages": {
            "tasks": {
                "deps": [{"path": "stages/tasks.py", "md5": "1"}, {"path": "data/images", "md5": digest}],
                "outs": [{"path": "data/tasks", "md5": f"{k}bcdefghijk"}],
            },
            **({"mis": {"outs": [{"path": "data/mis", "md5": scores}]}} if scores else {}),
        }
    }
    (folder / "dvc.lock").write_text(json.dumps(lock))


@pytest.fixture
def repository(tmp_path):
    """A commit with K = 9, an experiment `k5` of it, and one named `old` of the commit before."""
    folder = tmp_path / "study"
    folder.mkdir()
    git(folder, "init", "-q")
    write(folder, k=7, mis=0.7)
    commit(folder)
    experiment(folder, "old", k=3, mis=0.6)
    write(folder)
    commit(folder)
    experiment(folder, "k5", k=5, mis=0.8125, passed=0, digest="bbbbbbbbbb", models=("other", "net"))
    return folder


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "results")


def experiment(folder, name, **changes):
    """Results as DVC keeps those of an experiment: a commit on the current one that only a reference names."""
    baseline = git(folder, "rev-parse", "HEAD")
    write(folder, **changes)
    commit(folder)
    git(folder, "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", "HEAD")
    git(folder, "update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")
    git(folder, "reset", "-q", "--hard", baseline)


def page(folder, *names):
    out = folder.parent / "compare.html"
    made = ["--template", TEMPLATE, "--style", STYLE, "--out", str(out)]
    compare.main([*names, "--repository", str(folder), *made])
    return out.read_text()


def resolved(folder, *names):
    return [(each.name, each.kind) for each in revisions.resolve(names, folder)]


def test_names_mean_experiments_revisions_and_the_workspace(repository):
    assert resolved(repository, "HEAD~1", "k5", "workspace", "k5") == [
        ("HEAD~1", "commit"),
        ("k5", "experiment"),
        ("workspace", "workspace"),
    ]
    assert resolved(repository, "k5") == [("HEAD", "commit"), ("k5", "experiment")], "one name is set against HEAD"
    assert resolved(repository) == [("HEAD", "commit"), ("k5", "experiment")], "no name: HEAD and what started there"
    assert resolved(repository, "old")[1] == ("old", "experiment"), "experiments of other commits too"


def test_unknown_version_names_the_ones_there_are(repository):
    with pytest.raises(
        InputError, match=r"'k6' is no experiment, no git revision and not 'workspace'. Experiments: k5, old"
    ):
        revisions.resolve(["k6"], repository)


def test_name_of_two_experiments_means_that_of_this_commit_and_is_refused_elsewhere(repository):
    commits = {each.name: each.commit for each in revisions.experiments(repository)}
    first = git(repository, "rev-parse", "HEAD~1")
    git(repository, "update-ref", f"refs/exps/{first[:2]}/{first[2:]}/k5", commits["old"])
    assert revisions.resolve(["HEAD", "k5"], repository)[1].commit == commits["k5"]
    git(repository, "commit", "-q", "--allow-empty", "-m", "later")
    with pytest.raises(InputError, match=f"2 experiments 'k5'.*{commits['k5'][:10]}"):
        revisions.resolve(["k5"], repository)


def test_without_experiments_the_message_says_how_to_make_one(tmp_path):
    git(tmp_path, "init", "-q")
    with pytest.raises(InputError, match="no commit yet"):
        revisions.resolve([], tmp_path)
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "start")
    with pytest.raises(InputError, match=r"nothing to compare HEAD with.*dvc exp run -n NAME"):
        revisions.resolve([], tmp_path)
    with pytest.raises(InputError, match=r"HEAD \(commit\) has no results/metrics.json"):
        reading.load(revisions.resolve(["HEAD", "workspace"], tmp_path)[0])


def test_folder_outside_git_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="is in no git repository"):
        revisions.resolve(["HEAD"], tmp_path)


def compared(folder, *names):
    first, *others = results = [reading.load(version) for version in revisions.resolve(names, folder)]
    return comparison.compare(results, [compare.changes(first, other) for other in others])


def test_what_differs_is_found_with_its_size(repository):
    found = compared(repository, "k5")
    assert [(name, [cell.text for cell in row]) for name, row in found["params"].rows] == [
        (("tasks.n_explanations",), ["9", "5"])
    ]
    assert found["metrics"].rows[0][1][1] == comparison.Cell("0.8125", change="+0.0625", moved=True)
    assert found["metrics"].rows[1][1] == (comparison.Cell("1,234"), comparison.Cell("1,234"))
    assert found["summary"][0]["order"] is False
    assert found["environment"] is None
    assert found["code"] == [("k5", [])]
    # data/tasks and the digest of the images differ
    assert [[cell.change for cell in row] for _, row in found["outs"].rows] == [["", "differs"], ["", "differs"]]
    assert found["controls"]["counts"] == [("HEAD", (1, 0)), ("k5", (0, 1))]
    assert [name for name, _ in found["controls"]["failing"].rows] == [("encoder", "hash", "", "")]


def test_networks_are_aligned_by_name_and_checkpoints_left_out(repository):
    rows = dict(compared(repository, "k5")["models"]["encoder"].rows)
    # k5 has them in the other order: net 0.7125, other 0.8125
    assert set(rows) == {("net",), ("other",)}
    assert rows[("net",)][1] == comparison.Cell("0.7125", "0.7025 to 0.7225", "−0.0375", True)
    assert rows[("other",)][1].change == "+0.1625"


def test_levels_without_a_slope_are_named_with_their_version(repository):
    experiment(repository, "few", pixel="not identified")
    found = compared(repository, "few")["models"]
    assert found["pixel"].caption.endswith("similarity pixel (slope not identified in few: levels do not compare)")
    assert found["encoder"].caption.endswith("similarity encoder")


def test_agreement_is_that_outside_the_split_and_only_ceilings_stand_beside_it(repository):
    found = compared(repository, "k5")
    assert [name for name, _ in found["agreement"].rows] == [("units", "encoder"), ("networks", "encoder")]
    assert found["agreement"].rows[0][1][0] == comparison.Cell("0.5", "0.4 to 0.6")
    assert [name[1] for name, _ in found["ceiling"].rows] == ["ceiling V4", "share of V4 that encoder reaches"]


def test_version_that_lacks_a_network_has_a_dash(repository):
    experiment(repository, "fewer", models=("net",))
    rows = dict(compared(repository, "fewer")["models"]["encoder"].rows)
    assert rows[("other",)][1].text == "–"


def test_results_of_other_parameters_are_told(repository):
    text = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(text.replace('"n_explanations": 9', '"n_explanations": 4'))
    assert compared(repository, "HEAD", "workspace")["stale"] == [("workspace", ["tasks.n_explanations"])]
    assert "not those of its params.yaml" in page(repository, "HEAD", "workspace")


def test_long_table_keeps_the_rows_that_moved_most(repository, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_ROWS", 1)
    found = compared(repository, "k5")["models"]["encoder"]
    assert [name for name, _ in found.rows] == [("other",)]
    assert found.note.startswith("The 1 of 2 rows that moved most")


def test_page_is_the_same_bytes_and_escapes_what_comes_from_data(repository):
    experiment(repository, "hostile", models=("net", HOSTILE.replace('"', "'")))
    first = page(repository, "hostile", "k5")
    assert page(repository, "hostile", "k5") == first
    assert "<script" not in first
    assert "&lt;script&gt;" in first


def test_page_is_whole_and_fetches_nothing(repository):
    text = page(repository, "k5", "old", "workspace")
    assert not re.search(r"(?:src|href)=|url\(|@import", text)

    class Checker(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.open_tags = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br"):
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    checker = Checker()
    checker.feed(text)
    assert checker.open_tags == []
    rows = re.findall(r"<tr>(.*?)</tr>", text, flags=re.DOTALL)
    assert len({len(re.findall(r"<t[hd]", row)) for row in rows if "tasks.n_explanations" in row}) == 1
    assert text.count('scope="col"') > 10


WIDE = ("a_version_of_the_study_with_a_long_name", "another_version_of_the_study_with_a_long_name", "a_third_one")


@needs("Chromium")
def test_page_never_scrolls_sideways_follows_dark_and_keeps_its_first_column(repository):
    for name in WIDE:
        experiment(repository, name, mis=0.7123, models=("net", "x" * 60))
    page(repository, *WIDE, "k5", "old")
    with Browser() as tab:
        for width in (320, 390, 768, 1440):
            tab.open(repository.parent / "compare.html", width=width)
            assert tab.run("document.documentElement.scrollWidth") <= width
        tab.open(repository.parent / "compare.html", width=390)
        table = "[...document.querySelectorAll('.scroll')].find(e => e.scrollWidth > e.clientWidth)"
        names = f"{table}.querySelector('tbody th').getBoundingClientRect().left"
        before = tab.run(names)
        tab.run(f"{table}.scrollLeft = 200")
        assert tab.run(f"{table}.scrollLeft") == 200
        assert tab.run(names) == before
        page_colour = "getComputedStyle(document.body).backgroundColor"
        light = tab.run(page_colour)
        tab.media(**{"prefers-color-scheme": "dark"})
        assert tab.run(page_colour) == "rgb(16, 19, 23)" != light
        assert tab.problems == []


@needs("Chromium", "npm packages")
def test_axe_finds_nothing_in_light_and_dark(repository):
    page(repository, "k5", "old", "workspace")
    with Browser() as tab:
        for scheme in ("light", "dark"):
            tab.media(**{"prefers-color-scheme": scheme})
            tab.open(repository.parent / "compare.html", width=390)
            assert violations(tab) == []


def test_a_missing_style_is_named(repository, tmp_path):
    with pytest.raises(InputError, match=r"base\.css: no such file"):
        compare.main(["k5", "--repository", str(repository), "--template", TEMPLATE, "--style", str(tmp_path)])


def test_marks_lie_on_the_axis_that_holds_all_numbers(repository):
    found = compared(repository, "k5")["strips"]
    assert list(found) == ["encoder"], "of the similarity that leads"
    # HEAD: net .75 +- .01, other .65 +- .01; k5: net .7125 +- .01, other .8125 +- .01. The axis goes from .64 to .8225
    assert (found["encoder"].low, found["encoder"].high) == ("0.64", "0.8225")
    rows = dict(found["encoder"].rows)
    per_cent = 100 / 0.1825
    assert rows["net"][0] == pytest.approx((0.1 * per_cent, 0.12 * per_cent, 0.11 * per_cent), abs=0.01)
    assert rows["other"][1] == pytest.approx((0.1625 * per_cent, 100, 0.1725 * per_cent), abs=0.01)
    experiment(repository, "fewer", models=("net",))
    assert dict(compared(repository, "fewer")["strips"]["encoder"].rows)["other"][1] is None


def unit_scores(folder, cached, n, shift):
    """data/mis of a version in the cache of DVC: n units of one network, whose scores are moved; its digest."""
    rng = np.random.default_rng(0)
    unit = np.arange(n)
    table = pd.DataFrame(
        {
            "model": "net",
            "layer": "conv",
            "unit": unit,
            "backend": "encoder",
            "condition": "natural",
            "layer_type": "Conv",
            **dict.fromkeys(
                ("layer_index", "depth", "width", "mis_se", "accuracy", "margin_mean", "margin_sd", "n_tasks"), 0
            ),
            "in_split": False,
            "mis": 0.7 + 0.1 * rng.normal(size=100)[:n] + shift + 0.01 * np.random.default_rng(n).normal(size=n),
        }
    )
    harder = table.assign(condition="hard95", mis=0.5)
    cache = folder / ".dvc/cache/files/md5"
    digests = f"{cached}{n:030d}", f"{cached}{n + 1:030d}.dir"
    for digest in digests:
        (cache / digest[:2]).mkdir(parents=True, exist_ok=True)
    pd.concat([table, harder]).to_parquet(cache / digests[0][:2] / digests[0][2:])
    listing = [{"md5": digests[0], "relpath": "units.parquet"}]
    (cache / digests[1][:2] / digests[1][2:]).write_text(json.dumps(listing))
    return table["mis"], digests[1]


def with_scores(repository, shift):
    """Unit scores of two versions, the first of them committed: the scores of both, and the digest of the second."""
    (before, first), (after, second) = unit_scores(repository, "aa", 100, 0), unit_scores(repository, "bb", 60, shift)
    (repository / ".gitignore").write_text(".dvc/\n")
    (repository / ".dvc/config").touch()
    write(repository, scores=first)
    commit(repository)
    return before, after, second


def test_the_same_units_are_set_against_each_other(repository):
    before, after, second = with_scores(repository, 0.003)
    experiment(repository, "moved", scores=second)
    found = compared(repository, "moved")
    assert list(found["changes"]) == ["encoder"]
    [(name, (reference, cell))] = found["changes"]["encoder"].rows
    assert (name, reference.text, found["unpaired"]) == (("net",), "reference", [])
    # by hand: 60 units, natural tasks alone
    change = after.to_numpy() - before.to_numpy()[:60]
    reach = stats.t.ppf(0.975, 59) * change.std(ddof=1) / np.sqrt(60)
    assert cell.numbers == pytest.approx((change.mean() - reach, change.mean(), change.mean() + reach))
    assert cell.moved == (change.mean() - reach > 0)
    assert cell.interval.endswith(f"60 units, ranks correlate {stats.spearmanr(before[:60], after).statistic:.3f}")
    assert "The same units" in page(repository, "moved")


def test_unit_scores_that_are_not_at_hand_are_told(repository):
    _, digest = unit_scores(repository, "aa", 100, 0)
    (repository / ".gitignore").write_text(".dvc/\n")
    (repository / ".dvc/config").touch()
    write(repository, scores=digest)
    commit(repository)
    experiment(repository, "elsewhere", scores="cc" + digest[2:])
    found = compared(repository, "elsewhere")
    assert (found["changes"], found["unpaired"]) == ({}, ["elsewhere"])
    assert "not at hand, or of another form, for HEAD and elsewhere" in page(repository, "elsewhere")


@pytest.mark.parametrize("change", ["columns", "rows", "confidence"])
def test_versions_of_another_form_are_not_paired(repository, change):
    (_, first), (_, second) = unit_scores(repository, "aa", 100, 0), unit_scores(repository, "bb", 60, 0)
    (repository / ".gitignore").write_text(".dvc/\n")
    (repository / ".dvc/config").touch()
    write(repository, scores=first)
    commit(repository)
    experiment(repository, "other", scores=second)
    results = [reading.load(version) for version in revisions.resolve(["other"], repository)]
    assert compare.changes(*results) is not None
    path = results[1].units
    if change == "columns":
        pd.read_parquet(path).drop(columns="condition").to_parquet(path)
    elif change == "rows":
        pd.read_parquet(path).head(0).to_parquet(path)
    else:
        results[0].params.pop("stats.confidence")
    assert compare.changes(*results) is None


def test_the_workspace_has_the_scores_of_its_results(repository):
    *_, second = with_scores(repository, 0.01)
    write(repository, scores=second)
    (repository / "data/mis").mkdir(parents=True)
    (repository / "data/mis/units.parquet").write_bytes(b"of a run that has not ended")
    [(_, (_, cell))] = compared(repository, "HEAD", "workspace")["changes"]["encoder"].rows
    assert "60 units" in cell.interval


def test_numbers_are_short():
    assert comparison.shown(0.123456) == "0.1235"
    assert comparison.shown(-12345.0) == "−12,345"
    assert comparison.shown(0.5, sign=True) == "+0.5"
    assert reading.flat({"a": {"b": [1, 2.5], "c": True}}) == {"a.b": "1, 2.5", "a.c": "true"}
