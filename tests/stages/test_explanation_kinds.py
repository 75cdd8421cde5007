"""The stage of kinds of explanation, and its tables: what is solved, what is missing and said, and what changes nothing."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from interpretability.analysis.explanation_kinds import CHOSEN
from interpretability.mis import mean_probabilities
from interpretability.schema import MADE, MIXED, NATURAL, SYNTHETIC, UNIT
from interpretability.tasks.fewer import fewer_explanations
from interpretability.tasks.topics import CLUSTERS
from stages import explanation_kinds
from study.errors import StudyError
from study.files.tables import read_parquet, write_csv, write_parquet
from study.images.manifest import open_images
from study.solving import kind_tasks, kinds
from study.tabulating.kinds import COLUMNS, TABLE, UNIT_COLUMNS, UNIT_TABLE, kinds_tables
from tests.conftest import Study
from tests.helpers.made_images import fabricate

CHOSEN_PARAMS = {"scores__backends": ["oracle", "null"], "explanation_kinds__fewer": [1, 3, 9]}
OWNERS = [("tiny", "middle", 0), ("tiny", "middle", 3), ("tiny", "norm", 1), ("tiny", "middle", 2)]
LOST = ("tiny", "norm", 1, "min")  # of which no image could be made


@pytest.fixture(scope="module")
def solved(finished_study, tmp_path_factory):
    """A copy of the finished study with made images (unit 2 of middle is dead), after the stage."""
    folder = tmp_path_factory.mktemp("kinds") / "copy"
    shutil.copytree(finished_study.folder, folder, symlinks=True)
    study = Study(folder)
    study.params(**CHOSEN_PARAMS)
    fabricate(folder / "made", folder / "images", OWNERS, n_images=5, unreachable=[LOST])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIS_STORE", str(tmp_path_factory.mktemp("store")))
        run(study)
        before = listed(study)
        run(study, "again")
        assert listed(study) == before  # all of it was in the store
    return study


def listed(study):
    from study.files.store import WorkStore

    return sorted(path.name for path in WorkStore.open().folder.rglob("*.safetensors"))


def run(study, out="kinds", **places):
    names = {name: study.folder / name for name in ("tasks", "images", "models", "code")}
    names |= {"visualisations": study.folder / "made", "out": study.folder / out, **places}
    flags = [part for name, place in names.items() for part in (f"--{name}", str(place))]
    explanation_kinds.main(["--params", str(study.folder / "params.yaml"), *flags])
    return study.folder / out


def rows(study, backend="null", out="kinds"):
    table = read_parquet(study.folder / out / "margins.parquet")
    return table[table["backend"] == backend]


def test_every_kind_of_every_unit_is_solved(solved):
    table = rows(solved)
    of = table.groupby(["layer", "unit"])[["kind", "seed_set"]].apply(
        lambda part: set(part.itertuples(index=False, name=None))
    )
    natural = {(NATURAL, -1), (f"{NATURAL}_1", -1), (f"{NATURAL}_3", -1)}
    made = {(kind, number) for kind in (SYNTHETIC, MIXED) for number in (0, 1)}
    assert of["middle", 0] - {(CLUSTERS, -1)} == natural | made
    assert of["norm", 1] - {(CLUSTERS, -1)} == natural  # one side could not be reached
    assert ("middle", 2) not in of.index  # it is constant and has no tasks
    assert set(table["margins"].map(len)) == {2}
    counts = table.groupby("kind")["n_images"].first()
    assert (counts[NATURAL], counts[f"{NATURAL}_1"], counts[SYNTHETIC]) == (4, 1, 4)


def test_what_is_missing_is_said(solved):
    table = read_parquet(solved.folder / "kinds/units.parquet")
    assert list(table.columns) == kind_tasks.UNIT_COLUMNS
    units = table.set_index(["layer", "unit"])
    assert units.loc[("middle", 0), ["n_sets", "made", "tasks"]].tolist() == [2, kind_tasks.USED, kind_tasks.USED]
    assert units.loc[("norm", 1), "n_sets"] == 0
    assert units.loc[("norm", 1), "made"].startswith(kind_tasks.FEW)
    assert units.loc[("middle", 2), "tasks"] == kind_tasks.NO_TASKS


def test_a_similarity_of_factors_says_nothing_of_made_images(solved):
    assert not set(rows(solved, "oracle")["kind"]) & set(MADE)
    assert NATURAL in set(rows(solved, "oracle")["kind"])


def test_margins_are_those_of_the_tasks(solved):
    from interpretability.margins import cosine_margins, unit_rows
    from interpretability.synthetic.factors import factor_vectors

    table = read_parquet(solved.folder / "tasks/tiny.parquet")
    row = np.flatnonzero((table["layer"] == "middle") & (table["unit"] == 3) & (table["condition"] == NATURAL))
    tasks = np.load(solved.folder / "tasks/tiny.npy")[row]
    embedded = unit_rows(factor_vectors(open_images(solved.folder / "images").factors))
    mine = rows(solved, "oracle")
    mine = mine[(mine["layer"] == "middle") & (mine["unit"] == 3)].set_index("kind")["margins"]
    assert mine[NATURAL] == pytest.approx(cosine_margins(embedded, tasks, 4)[0], abs=1e-6)
    fewer = fewer_explanations(tasks, 3)
    assert mine[f"{NATURAL}_3"] == pytest.approx(cosine_margins(embedded, fewer, 3)[0], abs=1e-6)


def test_other_made_images_are_solved_anew_where_nothing_is_embedded_ahead(solved, monkeypatch):
    for name in ("embedded_images", "embedded_made"):  # as under similarities of pairs, which need weights
        monkeypatch.setattr(kinds.embeddings, name, lambda *_: None)
    solved.params(**CHOSEN_PARAMS | {"scores__backends": ["pixel"]})
    for seed, out in ((0, "first"), (1, "other")):
        fabricate(solved.folder / f"made-{out}", solved.folder / "images", OWNERS[:2], n_images=4, seed=seed)
        run(solved, f"pixels-{out}", visualisations=solved.folder / f"made-{out}")
    solved.params(**CHOSEN_PARAMS)
    first, other = (rows(solved, "pixel", f"pixels-{out}") for out in ("first", "other"))
    shows = first["kind"].isin(MADE).to_numpy()
    same = [np.array_equal(*pair) for pair in zip(first["margins"], other["margins"], strict=True)]
    assert np.array_equal(~shows, same)
    assert shows.any()


def test_the_first_task_of_each_kind_is_listed_for_the_page(solved):
    shown = read_parquet(solved.folder / "kinds/shown.parquet")
    assert list(shown.columns) == kinds.SHOWN.names
    part = shown[(shown["layer"] == "middle") & (shown["unit"] == 0)].set_index(["kind", "seed_set", "side"])
    part = part.sort_index(kind="stable")
    first = len(open_images(solved.folder / "images"))
    assert (part.loc[(SYNTHETIC, 1), "image"] >= first).all()
    images = read_parquet(solved.folder / "made/images.parquet").query(
        "layer == 'middle' and unit == 0 and seed_set == 1"
    )
    for side, own in images.sort_values("position").groupby("side"):
        made = own["image"].tolist()
        assert part.loc[(SYNTHETIC, 1, side), "image"].tolist() == [*made[:3], made[4]], "the last is never cut off"
    assert (part.loc[(MIXED, 0), "image"] >= first).groupby("side").sum().tolist() == [2, 2]
    assert (part.loc[(NATURAL, -1, "max"), "position"].to_numpy() == np.arange(4)).all()
    assert (part.loc[(NATURAL, -1), "topic"] == -1).all()


def test_units_can_be_named_without_made_images(solved):
    solved.params(**CHOSEN_PARAMS, explanation_kinds__units=["*/middle/0", "tiny/norm/*"])
    nothing = fabricate(solved.folder / "nothing", solved.folder / "images", [])
    out = run(solved, "named", visualisations=nothing)
    units = read_parquet(out / "units.parquet")
    assert {("tiny", "middle", 0), ("tiny", "norm", 0)} <= set(units[UNIT].itertuples(index=False, name=None))
    assert set(units["made"]) == {kind_tasks.NOT_MADE}
    assert not set(read_parquet(out / "margins.parquet")["kind"]) & set(MADE)
    # where neither images nor names are given, nothing is compared
    solved.params(**CHOSEN_PARAMS)
    empty = run(solved, "empty", visualisations=nothing)
    for name, schema in (("margins", kinds.MARGINS), ("units", kinds.UNITS), ("shown", kinds.SHOWN)):
        table = pq.read_table(empty / f"{name}.parquet")
        assert table.num_rows == 0
        assert table.schema == schema


def test_units_with_made_images_that_are_not_named_are_not_said_to_lack_tasks(solved):
    solved.params(**CHOSEN_PARAMS, explanation_kinds__units=["tiny/middle/0"])
    out = run(solved, "one")
    solved.params(**CHOSEN_PARAMS)
    units = read_parquet(out / "units.parquet").set_index(["layer", "unit"])["tasks"]
    assert units.to_dict() == {("middle", 0): kind_tasks.USED, ("middle", 2): kind_tasks.NO_TASKS}


def test_units_of_which_no_image_could_be_made_have_a_row(solved):
    lost = [(*owner, side) for owner in OWNERS[:1] for side in ("max", "min")]
    for name, owners in (("some", OWNERS[:2]), ("none", OWNERS[:1])):
        fabricate(solved.folder / f"lost-{name}", solved.folder / "images", owners, 4, unreachable=lost)
        units = read_parquet(run(solved, f"of-{name}", visualisations=solved.folder / f"lost-{name}") / "units.parquet")
        row = units.set_index(["layer", "unit"]).loc[OWNERS[0][1:]]
        assert (row["n_sets"], row["tasks"]) == (0, kind_tasks.USED)
        assert row["made"] == f"{kind_tasks.FEW}: set 0, 1"
        assert len(units) == len(owners)


def test_a_unit_that_lacks_a_seed_set_is_said_to_have_no_choice_of_made_images(solved):
    table = read_parquet(solved.folder / "tasks/tiny.parquet")
    natural = np.flatnonzero(table["condition"] == NATURAL)[:2]
    built, images = np.load(solved.folder / "tasks/tiny.npy")[natural], 1000 + np.arange(4, dtype=np.int32)
    owners = list(table.iloc[natural][["layer", "unit"]].itertuples(index=False, name=None))
    made = {owners[0]: {0: (images, images), 1: (images, images[:3])}, ("gone", 7): {0: (images[:1], images)}}
    named = kind_tasks.NamedUnits("tiny", table.iloc[natural], built, made, frozenset(owners))
    units = kind_tasks.kinds_of(named, SimpleNamespace(fewer=(), n_topics=1), None, seed=0)[1]
    assert units["n_sets"].tolist() == [1, 0]
    assert units["made"].tolist() == [f"{kind_tasks.FEW}: set 1{kind_tasks.UNCHOSEN}", kind_tasks.NOT_MADE]
    gone = kind_tasks.without_tasks(named).iloc[0]
    assert (gone["layer"], gone["n_sets"], gone["made"]) == ("gone", 0, f"{kind_tasks.FEW}: set 0")


def test_an_entry_for_a_network_that_failed_stops_nothing_and_is_said(solved, caplog):
    models = solved.folder / "models-with-failure"
    shutil.copytree(solved.folder / "models", models)
    write_csv(models / "failures.csv", pd.DataFrame({"model": ["lost"], "stage": ["models"], "reason": ["no weights"]}))
    solved.params(**CHOSEN_PARAMS, explanation_kinds__units=["lost/layer/3", "tiny/middle/0"])
    out = run(solved, "failed", models=models)
    solved.params(**CHOSEN_PARAMS)
    assert ("middle", 0) in set(
        read_parquet(out / "units.parquet")[["layer", "unit"]].itertuples(index=False, name=None)
    )
    assert "explanation_kinds.units names units of lost, which has no tasks" in caplog.text


@pytest.mark.parametrize(
    ("entry", "told"),
    [("tony/middle/0", "names network 'tony'"), ("tiny/middle/77", "names tiny/middle/77, which is no unit")],
)
def test_units_that_there_are_not_are_refused(solved, entry, told):
    solved.params(**CHOSEN_PARAMS, explanation_kinds__units=[entry])
    with pytest.raises(StudyError, match=told):
        run(solved, "refused")
    solved.params(**CHOSEN_PARAMS)


def test_topics_are_solved_by_topic_and_without_topics_there_is_no_such_kind(solved):
    table = read_parquet(solved.folder / "tasks/tiny.parquet")
    natural = np.flatnonzero(table["condition"] == NATURAL)[:3]
    built = np.load(solved.folder / "tasks/tiny.npy")[natural]
    named = kind_tasks.NamedUnits("tiny", table.iloc[natural].reset_index(drop=True), built, {}, frozenset())
    wanted = SimpleNamespace(fewer=(), n_topics=3)
    n_images = len(open_images(solved.folder / "images"))
    # rows in which every other explanation of the first unit's positive side is of another topic, of all other units none is
    embedded = np.ones((n_images, 2))
    images = built[0][:, :4]
    embedded[images[:, ::2].reshape(-1)] = [1, -1]
    built_kinds, units = kind_tasks.kinds_of(named, wanted, embedded, seed=0)
    assert units["topics_pos"].iloc[0] == 2
    clusters = built_kinds[-1]
    assert clusters.kind == CLUSTERS
    assert 0 in clusters.rows
    place = clusters.rows.tolist().index(0)
    assert sorted(clusters.topics[place, 0, :4].tolist()) == [0, 0, 1, 1]
    assert [kind.kind for kind in kind_tasks.kinds_of(named, wanted, None, seed=0)[0]] == [NATURAL]
    shown = kind_tasks.shown_table(named, [clusters])
    assert set(shown.loc[shown["side"] == "max", "topic"]) >= {0, 1}


# ---- the tables


def margins_table(folder, right):
    """data/explanation_kinds with margins that give these probabilities at slope 1: {(unit, kind, seed set): four tasks}."""
    parts = []
    for (unit, kind, number), tasks in right.items():
        margins = np.log(np.asarray(tasks) / (1 - np.asarray(tasks))).astype(np.float32)
        facts = {"layer_type": "Conv", "layer_index": 0, "depth": 0.5, "width": 8}
        of = {"backend": "null", "kind": kind, "seed_set": number, "n_images": 4, "margins": [margins], "near": [[3]]}
        parts.append(pd.DataFrame({"model": "net", "layer": "0.10", "unit": [unit], **facts, **of}))
    folder.mkdir()
    write_parquet(folder / "margins.parquet", pd.concat(parts, ignore_index=True), kinds.MARGINS)
    return folder


def facts_of(drop=False):
    return SimpleNamespace(slopes={"null": {"slope": 1.0}}, drop_near=drop, confidence=0.95)


RIGHT = {
    (5, NATURAL, -1): [0.6, 0.8, 0.6, 0.8],
    (5, SYNTHETIC, 0): [0.7, 0.9, 0.7, 0.9],
    (5, SYNTHETIC, 1): [0.9, 0.9, 0.9, 0.9],
    (6, NATURAL, -1): [0.5, 0.5, 0.5, 0.9],
}


def test_tables_by_hand(tmp_path):
    tables = kinds_tables(margins_table(tmp_path / "kinds", RIGHT), ["null"], facts_of())
    units, table = tables[UNIT_TABLE], tables[TABLE]
    assert list(units.columns) == UNIT_COLUMNS
    assert list(table.columns) == COLUMNS
    of = units.set_index(["unit", "kind", "seed_set"])
    assert of.loc[(5, NATURAL, -1), "score"] == pytest.approx(0.7)
    assert of.loc[(5, SYNTHETIC, 0), "score"] == pytest.approx(0.8)
    assert of.loc[(5, SYNTHETIC, -1), ["score", "even", "odd"]].tolist() == pytest.approx([0.85, 0.8, 0.9])
    # .8 and .9 differ by .1: sd .1 / sqrt(2)
    assert of.loc[(5, SYNTHETIC, -1), "between_sd"] == pytest.approx(0.1 / np.sqrt(2))
    spread = np.std([0.7, 0.9, 0.7, 0.9], ddof=1) / 2
    assert of.loc[(5, SYNTHETIC, 0), "se"] == pytest.approx(np.hypot(spread, 0.1 / np.sqrt(2)))
    assert of.loc[(5, NATURAL, -1), "se"] == pytest.approx(np.std([0.6, 0.8, 0.6, 0.8], ddof=1) / 2)
    of_all = np.std([0.8, 0.9, 0.8, 0.9], ddof=1) / 2
    assert of.loc[(5, SYNTHETIC, -1), "se"] == pytest.approx(np.hypot(of_all, 0.1 / 2))
    # synthetic images are ahead in both halves and sets, so always chosen; unit 6 has natural ones alone
    assert of.loc[(5, SYNTHETIC, -1), "chosen"] == 1
    assert of.loc[(6, NATURAL, -1), "chosen"] == 1
    assert np.isnan(of.loc[(5, SYNTHETIC, 1), "chosen"])
    row = table[table["model"] == "net"].set_index("kind")
    assert row.loc[CHOSEN, "difference"] == pytest.approx(0.15 / 2)
    assert row.loc[SYNTHETIC, "difference"] == pytest.approx(0.15)
    assert row.loc[CHOSEN, "n_sets"] == 2
    assert table["model"].unique().tolist() == ["", "net"]


def test_tasks_with_a_near_copy_are_left_out_with_those_of_the_score(tmp_path):
    tables = kinds_tables(margins_table(tmp_path / "kinds", RIGHT), ["null"], facts_of(drop=True))
    of = tables[UNIT_TABLE].set_index(["unit", "kind", "seed_set"])
    assert of.loc[(6, NATURAL, -1), "score"] == pytest.approx(0.5)
    assert of.loc[(5, NATURAL, -1), ["even", "odd"]].tolist() == pytest.approx([0.6, 0.8])


def test_tasks_with_a_near_copy_under_one_kind_are_left_out_of_all(tmp_path):
    folder = margins_table(tmp_path / "kinds", RIGHT)
    table = read_parquet(folder / "margins.parquet")
    table["near"] = [[], [], [1], []]  # of the second set of made images alone
    write_parquet(folder / "margins.parquet", table, kinds.MARGINS)
    of = kinds_tables(folder, ["null"], facts_of(drop=True))[UNIT_TABLE].set_index(["unit", "kind", "seed_set"])
    for key, right in RIGHT.items():
        left = [right[0], right[2], right[3]] if key[0] == 5 else right
        assert of.loc[key, "score"] == pytest.approx(np.mean(left))
    assert of.loc[(5, SYNTHETIC, -1), ["even", "odd"]].tolist() == pytest.approx([0.8, 0.9])
    assert of.loc[(5, SYNTHETIC, -1), "score"] == pytest.approx((0.8 + 0.8 + 0.9) / 3)


def test_scores_are_those_of_the_margins_at_the_slope(solved):
    facts = SimpleNamespace(slopes={"null": {"slope": 3.0}, "oracle": {"slope": 5.0}}, drop_near=False, confidence=0.95)
    units = kinds_tables(solved.folder / "kinds", ["null", "oracle"], facts)[UNIT_TABLE]
    mine = rows(solved)
    mine = mine[mine["kind"] == NATURAL]
    expected = mean_probabilities(np.stack(mine["margins"].to_numpy()), 3.0)
    of = units[(units["backend"] == "null") & (units["kind"] == NATURAL)].merge(mine.assign(expected=expected), on=UNIT)
    assert len(of) == len(mine) > 0
    assert of["score"].to_numpy() == pytest.approx(of["expected"].to_numpy())


def test_without_units_the_tables_have_their_columns(solved, tmp_path):
    write_parquet(tmp_path / "margins.parquet", kinds.MARGINS.empty_table().to_pandas(), kinds.MARGINS)
    tables = kinds_tables(tmp_path, ["null"], facts_of())
    assert tables[TABLE].empty
    assert list(tables[UNIT_TABLE].columns) == UNIT_COLUMNS
    with pytest.raises(StudyError, match=r"dvc repro"):
        kinds_tables(tmp_path / "nowhere", ["null"], facts_of())
