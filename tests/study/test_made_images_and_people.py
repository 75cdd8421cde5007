"""Simulated observers and made images: who is asked, what is marked, and that no headline hangs on the images."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interpretability.margins import cosine_margins, unit_rows
from interpretability.schema import KEY, MIXED, NATURAL, SYNTHETIC
from interpretability.similarity.registry import create
from interpretability.synthetic import observers
from interpretability.synthetic.factor_reading import fit_reading
from interpretability.synthetic.factors import factor_vectors
from interpretability.tasks.synthetic import mixed_tasks, synthetic_tasks
from stages import human
from study.errors import StudyError
from study.files import sources
from study.files.tables import read_csv, read_json, read_parquet, write_parquet
from study.images.made import Pictures, open_made
from study.images.manifest import open_images
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from study.params.whole import load_params
from tests.conftest import Study
from tests.helpers import tiny_study
from tests.helpers.made_images import fabricate
from tests.interpretability import test_summaries as summaries

K, N = tiny_study.N_EXPLANATIONS, tiny_study.N_TASKS
NETWORKS = ("net", "other")
UNITS = {"net": range(5, 11), "other": range(3, 9)}  # rows of natural tasks whose units have made images
PLAIN = {"held_out_cosine": 0.9}
# tables that speak of one condition at a time, of pairs of conditions, or of the sessions of all
BY_CONDITION = {
    *(
        "conditions",
        "natural_synthetic",
        "his_models",
        "model_points",
        "his_pairs",
        "confidence",
        "exclusions",
        "checks",
    ),
    *("network_tests", "layer_type_tests", "network_clusters", "kruskal", "family_bootstrap", "made_slopes"),
}


def add_made(data):
    """Synthetic and mixed tasks of some units of two networks, numbered behind the scenes; scores of them under `null` alone."""
    first, added = tiny_study.N_IMAGES, []
    for name in NETWORKS:
        path = data / f"tasks/{name}.parquet"
        table, built = read_parquet(path), np.load(path.with_suffix(".npy"))
        rows = list(UNITS[name])
        made = first + np.arange(len(rows) * 2 * K, dtype=np.int32).reshape(len(rows), 2, K)
        first += made.size
        sides = made[:, 0], made[:, 1]
        tasks = np.concatenate([synthetic_tasks(built[rows], *sides), mixed_tasks(built[rows], *sides)])
        more = pd.concat([table.iloc[rows].assign(condition=name) for name in (SYNTHETIC, MIXED)], ignore_index=True)
        write_parquet(path, pd.concat([table, more], ignore_index=True))
        np.save(path.with_suffix(".npy"), np.concatenate([built, tasks]))
        embeddings = unit_rows(np.random.default_rng(1).normal(size=(first, 16)))
        margins = list(cosine_margins(embeddings, tasks, K))
        added.append(more.assign(margins=margins, near=[np.empty(0, np.int16)] * len(more)))
    path = data / "scores/null.parquet"
    scores = pq.read_table(path)
    parts = [scores.filter(pa.compute.equal(scores["model"], name)) for name in scores["model"].unique().to_pylist()]
    for part, name in zip(list(parts), scores["model"].unique().to_pylist(), strict=True):
        if name in NETWORKS:
            rows = pa.Table.from_pandas(added[NETWORKS.index(name)], schema=scores.schema, preserve_index=False)
            parts[parts.index(part)] = pa.concat_tables([part, rows])
    pq.write_table(pa.concat_tables(parts), path)
    return first - tiny_study.N_IMAGES


def seen(n_made):
    """A reading that gives every made image a vector of its own."""

    def read(*args):
        vectors = args[-1]
        rows = np.random.default_rng(2).normal(size=(n_made, vectors.shape[1]))
        return unit_rows(rows), PLAIN

    return read


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    tiny_study.write_study(folder / "data")
    summaries.run_all(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    tiny_study.write_study(folder / "data")
    n_made = add_made(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(human, "see_made", seen(n_made))
        summaries.run_all(folder)
    return folder


def answers(folder, name="responses"):
    return read_parquet(folder / f"data/human/{name}.parquet")


def keys(table):
    return set(table[KEY[:3]].itertuples(index=False, name=None))


def test_answers_to_made_images_are_marked_and_mixed_tasks_are_not_asked(made):
    for name in ("responses", "units"):
        table = answers(made, name)
        assert set(table["condition"]) == {NATURAL, SYNTHETIC}
        assert set(table.loc[table["condition"] == SYNTHETIC, "source"]) == {"simulated, through the encoder"}
        natural = table[table["condition"] == NATURAL]
        assert set(natural["source"]) == {"simulated", "simulated, beside made images"}
    assert answers(made)["own_tasks"].all()
    assert sources.through_encoder(answers(made, "units")) == {SYNTHETIC}


def test_all_units_with_made_images_are_asked_under_both_conditions(made):
    units = answers(made, "units")
    shown = {
        key
        for name in NETWORKS
        for key in keys(read_parquet(made / f"data/tasks/{name}.parquet").iloc[list(UNITS[name])])
    }
    assert keys(units[units["condition"] == SYNTHETIC]) == shown
    drawn = keys(units[units["source"] == "simulated"])
    assert keys(units[units["source"] == "simulated, beside made images"]) == shown - drawn
    assert 0 < len(shown - drawn) < len(shown), "some units of either kind"
    assert set(units["n_responses"]) == {tiny_study.PARAMS["human.simulated.n_responses"]}


def test_no_answer_to_a_drawn_unit_hangs_on_made_images(plain, made):
    counted = sources.counted(answers(made))
    pd.testing.assert_frame_equal(counted, answers(plain))
    pd.testing.assert_frame_equal(sources.counted(answers(made, "units")), answers(plain, "units"))


def test_no_headline_hangs_on_made_images(plain, made):
    """Slopes, ceilings and agreement are byte for byte those of the study without made images."""
    for name in ("calibration/slope.json", "calibration/split.parquet", "ceiling/ceiling.parquet"):
        assert (plain / "data" / name).read_bytes() == (made / "data" / name).read_bytes(), name
    tables = {path.name for path in (plain / "results/tables").iterdir()}
    assert tables == {path.name for path in (made / "results/tables").iterdir()}
    differ = {
        name.removesuffix(".csv")
        for name in tables
        if (plain / "results/tables" / name).read_bytes() != (made / "results/tables" / name).read_bytes()
    }
    assert differ <= BY_CONDITION
    assert {"his_models", "natural_synthetic", "his_pairs", "network_tests", "model_points"} <= differ
    assert (plain / "results/metrics.json").read_bytes() == (made / "results/metrics.json").read_bytes()


def test_tables_by_condition_have_a_row_for_made_images_and_the_same_rows_beside_it(plain, made):
    def table(folder, name):
        return read_csv(folder / f"results/tables/{name}.csv")

    for name in ("his_models", "model_points", "confidence"):
        every = table(made, name)
        pd.testing.assert_frame_equal(
            every[every["condition"] != SYNTHETIC].reset_index(drop=True), table(plain, name), check_dtype=False
        )
    his = table(made, "his_models").query("condition == 'synthetic'").set_index("model")
    assert his["n_units"].to_dict() == {name: len(UNITS[name]) for name in NETWORKS}
    assert set(table(made, "model_points").query("condition == 'synthetic'")["backend"]) == {"null"}, (
        "factors know none"
    )
    pairs = table(made, "his_pairs")
    assert pairs.groupby("model").size().to_dict() == {name: len(UNITS[name]) for name in NETWORKS}
    assert pairs[["layer_type", "depth"]].notna().all(axis=None)
    beside = table(made, "natural_synthetic").query("backend == 'human'").set_index("model")
    by_hand = pairs.assign(change=pairs["his"] - pairs["his_base"]).groupby("model")["change"].mean()
    assert beside["difference"].to_numpy() == pytest.approx(by_hand.to_numpy(), abs=1e-5)

    # named units stand for no network under a similarity
    for name in ("network_tests", "layer_type_tests", "network_clusters", "kruskal", "family_bootstrap"):
        tested = table(made, name)
        assert {each for each in tested["backend"] if each.endswith(SYNTHETIC)} <= {"human_synthetic"}, name
    assert "human_synthetic" in set(table(made, "network_tests")["backend"])


def test_a_study_without_made_images_tells_of_no_reading(plain, made):
    assert read_json(made / "data/human/reading.json") == PLAIN
    there = {path.name for path in (plain / "data/human").iterdir()}
    assert there == {path.name for path in (made / "data/human").iterdir()} - {"reading.json"}


def test_observers_judge_made_images_by_the_vectors_that_are_read(made, tmp_path, monkeypatch):
    """A made image that looks like the right query is nearly always right; one that looks like the other query, nearly never."""
    tasks = made / "data/tasks"
    table, built = read_parquet(tasks / "net.parquet", KEY), np.load(tasks / "net.npy")
    shown = built[table["condition"] == SYNTHETIC]
    n_made = int(max(np.load(tasks / f"{name}.npy").max() for name in NETWORKS)) + 1 - tiny_study.N_IMAGES

    def telling(turned):
        def read(*args):
            vectors = args[-1]
            rows = np.tile(vectors[:1], (n_made, 1))
            for unit in shown:
                right, wrong = vectors[unit[:, -2]].mean(axis=0), vectors[unit[:, -1]].mean(axis=0)
                sides = (wrong, right) if turned else (right, wrong)
                for side, row in enumerate(sides):
                    rows[unit[0, side * K : (side + 1) * K] - tiny_study.N_IMAGES] = row / np.linalg.norm(row)
            return rows.astype(np.float32), PLAIN

        return read

    found = {}
    for turned in (False, True):
        monkeypatch.setattr(human, "see_made", telling(turned))
        run_human(made, tmp_path / str(turned))
        truth = read_parquet(tmp_path / str(turned) / "truth.parquet").query(
            "model == 'net' and condition == 'synthetic'"
        )
        found[turned] = truth["p_true"]
    assert found[False].min() > 0.6
    np.testing.assert_allclose(found[False] + found[True], 1, atol=1e-6, err_msg="margins of the other sign")


def run_human(study, out, *more):
    data = study / "data"
    flags = {"params": study / "params.yaml", "tasks": data / "tasks", "images": data / "images", "out": out}
    flags |= {"roster": data / "models/roster.csv", "models": data / "models", "external": study, "names": study}
    human.main([*(f"--{name}={place}" for name, place in flags.items()), *more])


def load_vit(study):
    roster = read_roster(study.folder / "models/roster.csv")
    return load_network(rows_of(roster[roster["name"] == "vit"])[0], study.folder / "models", study.code, 0)


SEEN = [("tiny", "middle", 0), ("tiny", "middle", 5), ("tiny", "norm", 1)]


@pytest.fixture(scope="module")
def with_encoder(finished_study, tmp_path_factory):
    """A study with networks: one of them reads images of noise, which stand in for made ones, as `scores.encoder.model`."""
    study = Study(tmp_path_factory.mktemp("with encoder"))
    for name in ("images", "models", "activations", "code"):
        (study.folder / name).symlink_to(finished_study.folder / name)
    change_params(study)
    fabricate(study.folder / "visualisations", study.folder / "images", SEEN)
    study.run_tasks()
    return study


def change_params(study, **changes):
    few = {"n_units": 4, "n_responses": 5, "n_trials": 4}
    study.params(
        tasks__conditions=[NATURAL, SYNTHETIC],
        visualisations__units=["/".join(map(str, unit)) for unit in SEEN],
        human__source="simulated",
        **{f"human__simulated__{name}": value for name, value in few.items()},
        **{"scores__encoder__model": "vit", **changes},
    )


def run_with_encoder(study, out, *more):
    names = ("tasks", "images", "models", "code", "visualisations")
    flags = {name: study.folder / name for name in names} | {"params": study.folder / "params.yaml", "out": out}
    flags |= {"roster": study.folder / "models/roster.csv", "external": study.folder, "names": study.folder}
    human.main([*(f"--{name}={place}" for name, place in flags.items()), *more])


def test_the_reading_is_that_of_the_encoder_of_the_study(with_encoder, tmp_path):
    run_with_encoder(with_encoder, tmp_path / "human")
    told = read_json(tmp_path / "human/reading.json")
    made = open_made(with_encoder.folder / "visualisations", open_images(with_encoder.folder / "images"))
    assert (told["encoder"], told["n_images"], told["n_made"]) == ("vit", 60, len(made))
    assert told["n_held_out"] == 12
    assert told["source"] == sources.THROUGH_ENCODER
    images = open_images(with_encoder.folder / "images")
    similarity = create("encoder", Pictures(images, made), network=load_vit(with_encoder))
    embeddings = unit_rows(similarity.embed(np.arange(60)))
    factors = factor_vectors(images.factors, ignore=("frequency",))
    reading = fit_reading(embeddings, factors, 0)
    assert told["held_out_cosine"] == pytest.approx(reading.held_out, abs=1e-5)
    assert told["mean_vector_cosine"] == pytest.approx(reading.alone, abs=1e-5)
    # the true share of a unit is that of margins between true queries and explanations as they are read
    pictures = unit_rows(similarity.embed(np.arange(60, 60 + len(made))))
    vectors = np.concatenate([factors, reading.read(pictures)])
    tasks = with_encoder.folder / "tasks"
    table, built = read_parquet(tasks / "tiny.parquet", KEY), np.load(tasks / "tiny.npy")
    rows = np.flatnonzero(table["condition"] == SYNTHETIC)
    simulated = load_params(with_encoder.folder / "params.yaml").human.simulated
    people = observers.Population(simulated.slope, simulated.slope_spread, simulated.lapse)
    wanted = observers.true_probabilities(cosine_margins(vectors, built[rows], 4), people)
    truth = table.iloc[rows].assign(wanted=wanted).merge(read_parquet(tmp_path / "human/truth.parquet"), on=KEY)
    assert len(truth) == len(SEEN)
    np.testing.assert_allclose(truth["p_true"], truth["wanted"], atol=1e-4)


def test_the_same_images_and_seed_give_the_same_bytes(with_encoder, tmp_path):
    for name in ("first", "again"):
        run_with_encoder(with_encoder, tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_other_made_images_change_no_answer_to_a_drawn_unit(with_encoder, tmp_path):
    run_with_encoder(with_encoder, tmp_path / "human")
    more = fabricate(tmp_path / "visualisations", with_encoder.folder / "images", SEEN, seed=1)
    run_with_encoder(with_encoder, tmp_path / "others", f"--visualisations={more}")
    ones, others = (read_parquet(tmp_path / name / "responses.parquet") for name in ("human", "others"))
    pd.testing.assert_frame_equal(sources.counted(ones), sources.counted(others))
    assert not ones["correct"].equals(others["correct"])


def test_made_images_that_are_gone_and_an_encoder_that_is_none_are_named(with_encoder, tmp_path):
    empty = fabricate(tmp_path / "visualisations", with_encoder.folder / "images", [])
    with pytest.raises(StudyError, match=r"tasks show made images, but .*visualisations has none; run `dvc repro`"):
        run_with_encoder(with_encoder, tmp_path / "human", f"--visualisations={empty}")
    change_params(with_encoder, scores__encoder__model="nobody")
    with pytest.raises(
        StudyError, match=r"scores.encoder.model is 'nobody', .*what it reads\); name one of tiny, vit, 50"
    ):
        run_with_encoder(with_encoder, tmp_path / "human")
    change_params(with_encoder)
