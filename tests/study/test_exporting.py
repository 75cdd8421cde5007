"""What the folder of questions holds beside natural tasks: practice, catch trials, conditions, fewer explanations, pictures."""

import io
import itertools
import re
import struct

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interpretability.design import practice
from interpretability.errors import InputError
from interpretability.schema import KEY
from study.files.tables import read_parquet, write_parquet
from study.images.manifest import open_images
from study.people import analysing, exporting
from study.people.pictures import Encoding, write_pictures
from tests.helpers import tiny_study
from tests.helpers.asked import ANNOTATED, export, make_study, manifest, row_of, rows, shown

K = tiny_study.N_EXPLANATIONS
LACKING = ("0.2", 4)  # of net: this layer has hard85 tasks for its first units only
SUFFIX = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small study whose network net has hard85 tasks as well, but for some units of a layer."""
    folder = make_study(tmp_path_factory.mktemp("study"), hard=("net",))
    path = folder / "data/tasks/net.parquet"
    table, built = read_parquet(path), np.load(path.with_suffix(".npy"))
    lacking = (table["condition"] == "hard85") & (table["layer"] == LACKING[0]) & (table["unit"] >= LACKING[1])
    write_parquet(path, table[~lacking].reset_index(drop=True))
    np.save(path.with_suffix(".npy"), built[~lacking.to_numpy()])
    return folder


@pytest.fixture(scope="module")
def both(study, tmp_path_factory):
    """Natural and hard85 tasks of the same units."""
    out = tmp_path_factory.mktemp("out") / "both"
    return export(study, out, "--conditions=natural,hard85", "--trials=4", "--format=webp")


def key(row):
    return tuple(row[name] for name in KEY)


def of_experiment(folder, name, experiment):
    return [row for row in rows(folder, name) if row["experiment"] == experiment]


def test_practice_and_catch_are_of_units_that_nobody_else_is_asked_about(both):
    asked = {key(unit)[:3] for unit in rows(both, "units")} | {unit[:3] for unit in ANNOTATED}
    for experiment in ("net_natural", "net_hard85_natural"):
        drawn = [of_experiment(both, name, experiment) for name in ("practice", "catch")]
        assert [len(each) for each in drawn] == [5, 3]
        units = [key(row)[:3] for row in itertools.chain(*drawn)]
        assert len(set(units)) == len(units)
        assert not asked & set(units)
        assert {row["condition"] for row in itertools.chain(*drawn)} == {"natural"}, (
            "harder tasks are learned by easy ones"
        )
    assert [row["question"] for row in rows(both, "practice")] == [f"p{number:04d}" for number in range(1, 11)]
    assert [row["question"] for row in rows(both, "catch")] == [f"c{number:04d}" for number in range(1, 7)]
    assert manifest(both)["practice"] == {"n": 5, "obvious": 4}
    assert sum(row["obvious"] for row in of_experiment(both, "practice", "net_natural")) == 4
    assert all(row["obvious"] for row in rows(both, "catch"))


def test_practice_shows_tasks_of_the_study_and_catch_a_copy(study, both):
    table, built = read_parquet(study / "data/tasks/net.parquet", KEY), np.load(study / "data/tasks/net.npy")
    row = row_of(both)
    for name in ("practice", "catch"):
        for trial in rows(both, name):
            place = table.index[(table[KEY] == list(key(trial))).all(axis=1)][0]
            images = built[place, trial["task"]]
            if name == "catch":
                images = practice.caught(images)
                wrong = trial["bottom" if trial["answer"] == "top" else "top"]
                assert (row[trial[trial["answer"]]], row[wrong]) == (row[trial["right"][0]], row[trial["left"][0]])
            assert sorted(row[file] for file in trial["right"]) == sorted(images[:K])
            assert sorted(row[file] for file in trial["left"]) == sorted(images[K : 2 * K])
            assert (row[trial["right"][0]], row[trial["left"][0]]) == (images[0], images[K]), (
                "the strongest comes first"
            )
            assert row[trial[trial["answer"]]] == images[-2]
    tops = [row["answer"] == "top" for row in rows(both, "practice") + rows(both, "catch")]
    assert 5 <= sum(tops) <= 11, "of 16, half of each draw"


@pytest.mark.parametrize("encoding", ["--format=png", "--format=jpeg", "--format=webp", "--format=jpeg --quality=1"])
def test_no_file_tells_which_query_of_a_catch_trial_is_shown_twice(study, tmp_path, encoding):
    out = export(study, tmp_path / "out", *encoding.split())
    digest = pd.read_csv(out / "images.csv").set_index("file")["sha256"]
    for trial in rows(out, "catch"):
        beside = [*trial["left"], *trial["right"]]
        for query in (trial["top"], trial["bottom"]):
            assert query not in beside
            assert digest[query] not in set(digest[beside])
            twin = next(file for file in beside if row_of(out)[file] == row_of(out)[query])
            seen, again = (np.asarray(Image.open(out / file).convert("RGB"), dtype=float) for file in (twin, query))
            assert np.abs(seen - again).mean() < (0.5 if "png" in encoding else 12)


def test_conditions_ask_about_the_same_units_in_sessions_of_their_own(study, both):
    facts = {each["experiment"]: each for each in manifest(both)["experiments"]}
    assert list(facts) == ["net_natural", "net_hard85_natural"]
    natural, hard = (pd.DataFrame(of_experiment(both, "units", name)) for name in facts)
    assert set(natural["condition"]) == {"natural"}
    assert set(hard["condition"]) == {"hard85"}
    same = natural.merge(hard, on=["model", "layer", "unit"], suffixes=("", "_hard"))
    assert len(same) == len(hard)
    assert (same[["group", "rank", "mis"]].to_numpy() == same[["group_hard", "rank_hard", "mis_hard"]].to_numpy()).all()
    left = natural.merge(hard[["layer", "unit"]], on=["layer", "unit"], how="left", indicator=True)
    left = left[left["_merge"] == "left_only"]
    assert len(left) > 0
    assert (left["layer"] == LACKING[0]).all()
    assert facts["net_hard85_natural"]["without_tasks"] == left[["layer", "unit", "group"]].to_dict("records")
    assert facts["net_natural"]["without_tasks"] == []
    for name, units in (("net_natural", natural), ("net_hard85_natural", hard)):
        own = {task["question"] for tasks in units["tasks"] for task in tasks}
        asked = [question for each in of_experiment(both, "sessions", name) for question in each["questions"]]
        assert set(asked) <= own
        assert len(asked) == 6 * len(units)
        assert (facts[name]["n_units"], facts[name]["n_questions"]) == (len(units), len(own))
        assert facts[name]["n_sessions"] == len(of_experiment(both, "sessions", name))
    numbers = [each["session"] for each in rows(both, "sessions")]
    assert numbers == [f"s{number:05d}" for number in range(1, len(numbers) + 1)]


def test_every_beginning_of_the_list_of_sessions_is_balanced(both):
    for name in ("net_natural", "net_hard85_natural"):
        units = of_experiment(both, "units", name)
        unit_of = {task["question"]: place for place, unit in enumerate(units) for task in unit["tasks"]}
        answers = np.zeros(len(units), dtype=int)
        for session in of_experiment(both, "sessions", name):
            asked = [unit_of[question] for question in session["questions"]]
            assert len(set(asked)) == len(asked), "nobody sees a unit twice"
            np.add.at(answers, asked, 1)
            assert np.ptp(answers) <= 1
        assert set(answers) == {6}


def test_harder_tasks_are_those_of_the_study_and_so_is_what_to_expect(study, both):
    table, built = read_parquet(study / "data/tasks/net.parquet", KEY), np.load(study / "data/tasks/net.npy")
    row = row_of(both)
    units = of_experiment(both, "units", "net_hard85_natural")
    for unit in units[:3]:
        place = table.index[(table[KEY] == list(key(unit))).all(axis=1)][0]
        for task in unit["tasks"]:
            assert sorted(row[file] for file in shown(task)) == sorted(built[place, task["task"]])
    margins = read_parquet(study / "data/scores/oracle.parquet").query("model == 'net' and condition == 'hard85'")
    scores = margins.assign(mis=(1 / (1 + np.exp(-5 * np.stack(margins["margins"])))).mean(axis=1))
    scores = scores.merge(pd.DataFrame(units)[[*KEY, "group"]], on=KEY)
    expected = {each["group"]: each for each in manifest(both)["experiments"][1]["groups"]}
    for name, group in scores.groupby("group"):
        assert expected[name]["n_units"] == len(group)
        assert expected[name]["expected"] == pytest.approx(group["mis"].mean(), abs=1e-5)
        assert expected[name]["shrunken"] is None


def test_answers_are_compared_by_network_and_condition(both, tmp_path):
    of_question = {task["question"]: (unit, task) for unit in rows(both, "units") for task in unit["tasks"]}
    given = []
    for session in rows(both, "sessions"):
        for question in session["questions"]:
            unit, task = of_question[question]
            right = unit["condition"] == "natural" or unit["group"] == "easiest"
            wrong = {"top": "bottom", "bottom": "top"}[task["answer"]]
            given.append((question, session["session"], task["answer"] if right else wrong, "simulated"))
    table = pd.DataFrame(given, columns=["question", "participant", "choice", "source"])
    table.to_csv(tmp_path / "answers.csv", index=False)
    found = analysing.analyse(tmp_path / "answers.csv", both, n_bootstrap=100)
    shares = found.groups.set_index(["condition", "group"])["his_mean"].to_dict()
    assert shares == {
        **{("natural", group): 1 for group in ("easiest", "random", "hardest")},
        **{("hard85", group): float(group == "easiest") for group in ("easiest", "random", "hardest")},
    }
    assert found.groups["expected"].notna().all()
    assert set(found.tests["condition"]) == {"natural", "hard85"}
    told = found.told()
    assert "net, hard85: 1 of 1 pairs of groups are in the order" in told, "one of the hardest alone has tasks"
    assert "net, natural: 0 of 3 pairs of groups are in the order" in told
    assert found.source == "simulated"


def test_a_condition_without_enough_units_is_refused(study, tmp_path):
    with pytest.raises(InputError, match=r"--trials is 8, but only . of the 8 chosen units of net have hard85 tasks"):
        export(study, tmp_path / "out", "--conditions=hard85", "--trials=8")
    with pytest.raises(InputError, match=r"--conditions names hard85; other has tasks of natural\. Ask about those"):
        export(study, tmp_path / "out", "--conditions=hard85", "--models=net,other")


def test_units_that_repeat_one_another_are_asked_about_once(tmp_path):
    """Layer 0.2 repeats 0.10, and head is repeated by nobody; units 0 to 3 of head are annotated."""
    study = make_study(tmp_path / "study", clusters=[("net", "0.10", "0.10"), ("net", "0.2", "0.10")])
    sizes = "--units=3", "--random=2", "--practice=2", "--catch=1", "--no-pictures"
    out = export(study, tmp_path / "out", *sizes)
    n_repeats = tiny_study.WIDTH
    assert manifest(out)["networks"] == [
        {"model": "net", "n_annotated": 4, "n_candidates": 3 * tiny_study.WIDTH - 4 - n_repeats, "n_repeats": n_repeats}
    ]
    asked = rows(out, "units") + rows(out, "practice") + rows(out, "catch")
    of_cluster = [("head" if row["layer"] == "head" else "0.10", row["unit"]) for row in asked]
    assert len(set(of_cluster)) == len(of_cluster) == 11
    layers = {row["layer"] for row in asked}
    assert {"0.10", "0.2"} <= layers, "either layer keeps a share"


def test_a_unit_that_repeats_an_answered_one_counts_as_answered(tmp_path):
    study = make_study(tmp_path / "study", clusters=[("net", "head", "0.2")])
    out = export(study, tmp_path / "out", "--practice=2", "--catch=1", "--no-pictures")
    asked = rows(out, "units") + rows(out, "practice") + rows(out, "catch")
    answered = {unit for _, _, unit, _ in ANNOTATED}
    assert not [row for row in asked if row["layer"] in ("head", "0.2") and row["unit"] in answered]
    assert any(row["layer"] == "0.10" and row["unit"] in answered for row in asked)


def test_two_experiments_of_one_name_are_refused(study, tmp_path, monkeypatch):
    """As a network net_hard85 beside net would make them."""
    monkeypatch.setattr(exporting, "name_of", lambda model, *_: "net_hard85_natural")
    with pytest.raises(InputError, match="two experiments would be called net_hard85_natural"):
        export(study, tmp_path / "out", "--conditions=natural,hard85", "--trials=4", "--no-pictures")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("k", [0, 1])
def test_fewer_explanations_are_the_most_exciting_ones(study, both, tmp_path, k):
    out = export(study, tmp_path / "few", f"--explanations={k}", "--no-pictures")
    assert [each["experiment"] for each in manifest(out)["experiments"]] == [f"net_natural_k{k}"]
    assert manifest(out)["experiments"][0]["n_explanations"] == k
    assert manifest(out)["n_explanations"] == K
    whole = {(key(unit), task["task"]): task for unit in rows(both, "units") for task in unit["tasks"]}
    for unit in rows(out, "units"):
        for task in unit["tasks"]:
            full = whole[key(unit), task["task"]]
            for side in ("left", "right"):
                assert [name.split(".")[0] for name in task[side]] == [name.split(".")[0] for name in full[side][:k]]
            assert task["answer"] == full["answer"]
    assert all(
        len(row[side]) == K for name in ("practice", "catch") for row in rows(out, name) for side in ("left", "right")
    )


def test_none_to_practise_on_is_an_empty_list(study, tmp_path):
    out = export(study, tmp_path / "bare", "--practice=0", "--catch=0", "--no-pictures")
    assert rows(out, "practice") == rows(out, "catch") == []


# --------------------------------------------------------------------------- what tells nothing


def test_what_is_shown_names_neither_unit_nor_group_nor_side_nor_row(both):
    blind = (both / "questions.json").read_text(), (both / "sessions.json").read_text()
    assert set(rows(both, "questions")[0]) == {"question", "left", "right", "top", "bottom"}
    assert set(rows(both, "sessions")[0]) == {"session", "experiment", "questions"}
    told = {word for text in blind for word in re.findall(r"[\w./]+", text)}
    layers = {unit["layer"] for unit in rows(both, "units")}
    groups = {unit["group"] for unit in rows(both, "units")}
    assert not told & (layers | groups | {"answer", "task", "unit", "mis", "min", "max"})
    files = sorted(row_of(both))
    assert all(re.fullmatch(r"images/[0-9a-f]{16}\.webp", file) for file in files)
    assert sorted(path.relative_to(both).as_posix() for path in (both / "images").iterdir()) == files
    assert {file for question in rows(both, "questions") for file in shown(question)} <= set(files)


def test_names_order_pictures_by_chance(both):
    """In the order of their names rows are neither ascending nor descending, and neighbours are no neighbours."""
    row = row_of(both)
    rows_by_name = np.array([row[file] for file in sorted(row)])
    n = len(rows_by_name)
    assert n > 100
    rank = rows_by_name.argsort().argsort()
    # the correlation of two random orders has a standard deviation of 1 / sqrt(n - 1)
    assert abs(np.corrcoef(rank, np.arange(n))[0, 1]) < 5 / np.sqrt(n - 1)
    assert Encoding("png", 85, 224, 0).file(3) != Encoding("png", 85, 224, 1).file(3)


def chunks(content):
    """Names of the parts of a picture file."""
    if content.startswith(b"\x89PNG"):
        names, at = [], 8
        while at < len(content):
            names.append(content[at + 4 : at + 8].decode())
            at += 12 + struct.unpack(">I", content[at : at + 4])[0]
        return names
    if content.startswith(b"RIFF"):
        names, at = [], 12
        while at < len(content):
            names.append(content[at : at + 4].decode())
            size = struct.unpack("<I", content[at + 4 : at + 8])[0]
            at += 8 + size + size % 2
        return names
    names, at = [], 2
    while content[at + 1] != 0xDA:  # start of the coded picture
        names.append(f"{content[at + 1]:02x}")
        at += 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]
    return names


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("png", {"IHDR", "IDAT", "IEND"}),
        ("jpeg", {"e0", "db", "c0", "c4"}),  # JFIF head, tables, frame
        ("webp", {"VP8 "}),
    ],
)
def test_pictures_carry_no_word_about_themselves(study, tmp_path, kind, allowed):
    images = open_images(study / "data/images")
    encoding = Encoding(kind, 85, 8, seed=0)
    write_pictures(tmp_path, images, range(5), encoding)
    listed = pd.read_csv(tmp_path / "images.csv")
    assert listed["image"].tolist() == list(range(5))
    for row in listed.itertuples():
        content = (tmp_path / row.file).read_bytes()
        assert row.file.endswith(f".{SUFFIX[kind]}")
        assert len(content) == row.bytes
        assert set(chunks(content)) <= allowed
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.size, picture.format) == ((row.width, row.height), kind.upper())
            assert not picture.getexif()
            assert not {"icc_profile", "comment", "exif", "xmp"} & set(picture.info)


def test_a_comment_or_profile_would_be_seen():
    """The control of the test before: a picture that tells something of itself has more parts."""
    for kind, more in (
        ("png", {"icc_profile": b"x" * 200}),
        ("jpeg", {"comment": b"row 7"}),
        ("webp", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
    ):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, kind, **more)
        assert set(chunks(buffer.getvalue())) & {"iCCP", "fe", "EXIF"}


def test_quality_makes_pictures_smaller_and_colours_coarser_only_where_it_is_low():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("jpeg", "webp"):
        sizes = [len(Encoding(kind, quality, 0, 0).encode(Image.fromarray(noise))[0]) for quality in (20, 60, 95)]
        assert sizes == sorted(sizes)
    samples = [Encoding("jpeg", quality, 0, 0).encode(Image.fromarray(noise))[0] for quality in (89, 90)]
    layers = [Image.open(io.BytesIO(each)).layer[0][1:3] for each in samples]
    assert layers == [(2, 2), (1, 1)]
