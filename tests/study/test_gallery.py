"""Units of the page: which are listed, which have pictures, and that the data of the browser says what the tables say."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from stages import report
from study.report.figures import base
from study.report.page import listed_units, packing, places, shown_tasks, thumbnails
from study.report.page.gallery import as_json
from tests.helpers.report_fixture import BACKENDS, KEY, N_EXPLANATIONS, N_TASKS, NETWORKS, build

SIZE = 64  # report.thumbnail of the synthetic study


def built(folder: Path, **options) -> tuple[str, dict]:
    """The page without drawings, and the data of its gallery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "render", lambda *_, **__: "<svg></svg>")
        patch.setattr(base, "render_files", lambda *_, **__: ("<svg></svg>", b"%PDF"))
        report.main(build(folder, **options))
    text = (folder / "report.html").read_text()
    found = re.search(r'<script id="unit-data" type="application/json">(.*?)</script>', text, flags=re.DOTALL)
    return text, json.loads(found[1])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return folder, *built(folder)


def unpacked(packed):
    width, text = packed
    return np.frombuffer(base64.b64decode(text), f"<u{width}").tolist()


def spread(runs):
    return [value for value, length in runs for _ in range(length)]


def keys(data):
    layers, conditions = spread(data["layer"]), spread(data["condition"])
    return [
        (data["models"][data["layers"][at][0]], data["layers"][at][1], unit, data["conditions"][condition])
        for at, unit, condition in zip(layers, data["unit"], conditions, strict=True)
    ]


def scores(folder, backend=BACKENDS[0]):
    table = pd.read_parquet(folder / "mis/units.parquet")
    return table[table["backend"] == backend].set_index(KEY)


def test_listed_units_have_the_numbers_of_the_tables(study):
    folder, _, data = study
    lead, found = scores(folder), keys(data)
    assert len(found) == len(set(found)) == len(lead)
    assert [value / 1e6 for value in data["mis"]] == pytest.approx(lead.loc[found, "mis"], abs=5.1e-7)
    assert [value / 1e6 for value in data["accuracy"]] == pytest.approx(lead.loc[found, "accuracy"], abs=5.1e-7)
    assert data["unidentified"] == ["null"]
    assert [name for name, _ in data["others"]] == list(BACKENDS[1:])
    for (name, values), errors in zip(data["others"], data["othersSe"], strict=True):
        own = scores(folder, name).loc[found]
        assert [v / 1e6 for v in values] == pytest.approx(own["mis"], abs=5.1e-7)
        assert [v / 1e6 for v in errors] == pytest.approx(own["mis_se"], abs=5.1e-7)
    margins = np.frombuffer(base64.b64decode(data["margins"]), "<i2").reshape(-1, N_TASKS) * data["marginStep"]
    stored = pd.read_parquet(folder / "scores/encoder.parquet").set_index(KEY)
    expected = np.stack(stored.loc[found, "margins"])
    np.testing.assert_allclose(margins, expected, atol=data["marginStep"])
    assert {found[int(row)][2] for row in data["near"]} == {1}


def test_people_and_residuals_lie_at_their_units(study):
    folder, _, data = study
    found = keys(data)
    human = pd.read_parquet(folder / "human/units.parquet").set_index(KEY)
    assert len(data["human"]) == len(human)
    for row, (his, _, n) in data["human"].items():
        assert his / 1e6 == pytest.approx(human.loc[found[int(row)], "his"], abs=5.1e-7)
        assert n == 30
    # two answers to task 0, one of them right, one right answer to task 1; an answer to an unknown task is in no task
    assert len(data["answers"]) == 40
    for counts in data["answers"].values():
        assert counts == [2, 1, 1, 1] + [0] * (2 * N_TASKS - 4)
    residuals = pd.read_csv(folder / "tables/residuals.csv")
    for side in ("over", "under"):
        rows = residuals[residuals["side"] == side].sort_values("rank")
        assert [found[row] for row, _ in data["missed"][side]] == list(rows[KEY].itertuples(index=False, name=None))


def test_pictures_are_those_of_the_tasks(study):
    folder, text, data = study
    found = keys(data)
    assert data["pictures"]
    layers = pd.read_parquet(folder / "activations/layers.parquet").set_index(["model", "layer"])["offset"]
    paths = [int(path) for path in data["path"]]  # the fixture calls picture 7 "00007"
    for row, shown in data["pictures"].items():
        model, *rest = found[int(row)]
        table = pd.read_parquet(folder / f"tasks/{model}.parquet")
        [place] = np.flatnonzero((table[KEY[1:]] == rest).all(axis=1))
        tasks = np.load(folder / f"tasks/{model}.npy")[place]
        ends = tasks[:, 0], tasks[:, N_EXPLANATIONS]
        assert shown["ranked"] == (rest[1] != 1), "not where tasks come from a record"
        if shown["ranked"]:
            row = layers.loc[(model, rest[0])] + rest[1]
            lists = load_file(folder / f"activations/{model}.safetensors")
            ends = [lists[f"{side}_images"][row, :N_TASKS] for side in ("top", "bottom")]
        assert [paths[i] for i in shown["most"]] == ends[0].tolist()
        assert [paths[i] for i in shown["least"]] == ends[1].tolist()
        assert [paths[i] for i in shown["queries"]] == tasks[:, -2:].ravel().tolist()
        assert list(shown["full"])[:2] == ["0", "1"]
        for task, ids in shown["full"].items():
            assert [paths[i] for i in ids] == tasks[int(task), :-2].tolist()
    # every picture once, in the sheets of the style
    assert len(set(paths)) == len(paths)
    head, rest = text.split("</style>", 1)
    uris = re.findall(r'\.s\d+ \{ background-image: url\("data:image/webp;base64,([^"]+)"\)', text)
    assert len(uris) == -(-len(paths) // data["perSheet"])
    assert (".s0 {" in head, ".s1 {" in head, ".s0 {" in rest) == (True, False, False)
    pixels = np.load(folder / "images/pixels.npy")
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uris[0]))).convert("RGB")).astype(float)
    for number in (0, len(paths) - 1):
        row, column = divmod(number, data["sheetColumns"])
        part = sheet[row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE]
        # WebP keeps a mean to a few grey levels
        np.testing.assert_allclose(part.mean((0, 1)), pixels[paths[number]].mean((0, 1)), atol=6)


def test_every_other_unit_shows_the_first_task_whose_pictures_are_there(study):
    folder, _, data = study
    found = keys(data)
    rows, tasks, ids = (unpacked(data["packed"][name]) for name in ("rows", "tasks", "ids"))
    # every picture of the study is in the page, so no unit goes without
    assert sorted([*rows, *map(int, data["pictures"])]) == list(range(len(found)))
    width = 2 * N_EXPLANATIONS + 2
    assert len(ids) == width * len(rows)
    paths = np.array([int(path) for path in data["path"]])
    for place in (0, 7, len(rows) - 1):
        model, *rest = found[rows[place]]
        table = pd.read_parquet(folder / f"tasks/{model}.parquet")
        [index] = np.flatnonzero((table[KEY[1:]] == rest).all(axis=1))
        own = np.load(folder / f"tasks/{model}.npy")[index]
        assert tasks[place] == 0
        assert paths[ids[place * width : (place + 1) * width]].tolist() == own[0].tolist()


def test_a_unit_without_all_pictures_of_a_task_shows_the_next_one_and_near_copies_come_last(tmp_path):
    tasks = np.arange(3 * 2 * 4, dtype=np.int32).reshape(1, 6, 4)
    (tmp_path / "net.npy").write_bytes(b"")
    np.save(tmp_path / "net.npy", tasks)
    unit = pd.DataFrame({"model": ["net"], "layer": ["a"], "unit": [0], "condition": ["natural"]})
    unit[KEY[1:]].assign(tie_share_pos=0.0).to_parquet(tmp_path / "net.parquet")

    def shown(images, near=()):
        listed = listed_units.Listed(unit, np.zeros((1, 6), np.float32), {0: list(near)}, {}, {}, 1, 1)
        single = shown_tasks.single_tasks(listed, [], images, tmp_path)
        return single.rows.tolist(), single.tasks.tolist(), single.images.tolist()

    every = range(24)
    assert shown(every) == ([0], [0], [[0, 1, 2, 3]])
    assert shown([*range(1, 24)]) == ([0], [1], [[4, 5, 6, 7]])
    assert shown(every, near=[0, 1]) == ([0], [2], [[8, 9, 10, 11]])
    assert shown([0, 1, 2, 3], near=[0]) == ([0], [0], [[0, 1, 2, 3]])
    assert shown([0, 1, 2]) == ([], [], [])
    assert shown([]) == ([], [], [])


def test_units_that_people_answered_show_all_their_tasks_and_natural_ones_their_extremes_in_order(study):
    folder, _, data = study
    found, n = keys(data), data["nTasks"]
    paths = np.array([int(path) for path in data["path"]])
    single, rows = (unpacked(data[name]["rows"]) for name in ("packed", "further"))
    # every picture is in the page: of each answered unit that shows no more, all tasks but its first
    answered = {int(row) for row in data["human"]} & set(single)
    assert answered
    assert sorted(rows) == sorted(list(answered) * (n - 1))
    tasks = unpacked(data["further"]["tasks"])
    assert tasks[: n - 1] == list(range(1, n))
    ends = unpacked(data["extremes"]["rows"])
    recorded = {
        row for row in single if found[row][2] == 1
    }  # whose tasks come from a record, as the fixture writes them
    assert set(ends) == set(single) - recorded
    row = ends[3]
    model, layer, unit, _ = found[row]
    offset = pd.read_parquet(folder / "activations/layers.parquet").set_index(["model", "layer"])["offset"]
    lists = load_file(folder / f"activations/{model}.safetensors")
    ids = unpacked(data["extremes"]["ids"])[3 * 2 * n : 4 * 2 * n]
    of_unit = [lists[f"{side}_images"][offset[model, layer] + unit, :n] for side in ("top", "bottom")]
    assert paths[ids].tolist() == np.concatenate(of_unit).tolist()


def test_extremes_of_which_one_picture_is_missing_are_not_shown(tmp_path):
    np.save(tmp_path / "net.npy", np.arange(2 * 2 * 4, dtype=np.int32).reshape(2, 2, 4))
    units = pd.DataFrame({"model": "net", "layer": "a", "unit": [0, 1], "condition": "natural"})
    units[KEY[1:]].assign(tie_share_pos=0.0).to_parquet(tmp_path / "net.parquet")
    listed = listed_units.Listed(units, np.zeros((2, 2), np.float32), {}, {}, {}, 2, 2)
    every = range(16)
    single = shown_tasks.single_tasks(listed, [], every, tmp_path)
    top, bottom = np.array([[0, 4], [8, 12]], np.int32), np.array([[1, 5], [9, 13]], np.int32)

    def shown(images):
        ends = shown_tasks.single_ends(listed, single, images, tmp_path, lambda *_: (top, bottom))
        return ends.rows.tolist(), ends.images.tolist()

    assert shown(every) == ([0, 1], [[0, 4, 1, 5], [8, 12, 9, 13]])
    assert shown([image for image in every if image != 5]) == ([1], [[8, 12, 9, 13]])
    assert shown([]) == ([], [])


def test_the_first_screen_s_pictures_come_first_and_its_tasks_are_whole(study):
    _, text, data = study
    assert len(data["play"]) == 16
    seen = []
    for row, task in data["play"]:
        shown = data["pictures"][str(row)]
        seen += [*shown["full"][str(task)], *shown["queries"][2 * task : 2 * task + 2]]
    assert max(seen) < 16 * (2 * N_EXPLANATIONS + 2)
    assert list(dict.fromkeys(seen)) == list(range(max(seen) + 1))
    assert data["first"] == list(dict.fromkeys(row for row, _ in data["play"]))[:12]
    assert text.count('<li class="card">') == 12


def test_places_count_the_units_below_among_all_scored_ones(study):
    folder, _, data = study
    lead, found = scores(folder)["mis"], keys(data)
    for name, by in (("network", ["model"]), ("layer", ["model", "layer"])):
        share = unpacked(data["place"][name])
        for row in (0, 100, 431):
            own = found[row]
            group = lead.xs(tuple(own[: len(by)]), level=by) if by else lead
            assert share[row] == 100 * (group < lead[own]).sum() // (len(group) - 1)
    condition = data["conditions"].index("natural")
    assert data["place"]["nNetwork"][condition] == [108] * 4
    assert set(data["place"]["nLayer"][condition]) == {12}


def test_places_of_units_that_are_alone_and_of_equal_scores():
    units = pd.DataFrame(
        {"condition": ["natural"] * 5 + ["hard"], "layer": list("aaabcc"), "mis": [0.5, 0.7, 0.7, 0.9, 0.6, 0.1]}
    )
    placed = places.with_places(units)
    assert placed["easier_network"].tolist() == [0, 50, 50, 100, 25, 0]
    assert placed["n_network"].tolist() == [5, 5, 5, 5, 5, 1]
    assert placed["easier_layer"].tolist() == [0, 50, 50, 0, 0, 0]
    assert placed["n_layer"].tolist() == [3, 3, 3, 1, 1, 1]


def test_easiest_hardest_and_missed_units_of_every_network_have_pictures(study):
    folder, _, data = study
    lead, found = scores(folder), keys(data)
    pictured = {found[int(row)] for row in data["pictures"]}
    for model in NETWORKS:
        order = lead[lead.index.get_level_values("model") == model].sort_values("mis").index
        assert {*order[:4], *order[-4:]} <= pictured
    assert {found[row] for side in ("over", "under") for row, _ in data["missed"][side]} <= pictured


def test_pictures_can_be_left_out(tmp_path):
    text, data = built(tmp_path, show_images=False)
    assert "data:image/webp" not in text
    assert data["packed"]["rows"] == [1, ""]
    assert data["play"] == data["first"] == []
    assert "report.show_images: false" in text
    assert data["pictures"] == {}
    assert len(data["unit"]) == len(scores(tmp_path))


def test_a_limit_on_units_keeps_both_ends_and_what_people_answered(tmp_path):
    text, data = built(tmp_path, n_units=4 * 70)
    found, lead = keys(data), scores(tmp_path)
    assert len(found) == 4 * 70
    assert f"{len(found):,} of {len(lead):,} scored units are listed" in " ".join(text.split())
    assert "280 of 432 scored units are listed" in text
    human = pd.read_parquet(tmp_path / "human/units.parquet")
    assert set(human[KEY].itertuples(index=False, name=None)) <= set(found)
    for model in NETWORKS:
        order = lead[lead.index.get_level_values("model") == model].sort_values("mis").index
        assert {order[0], order[-1]} <= set(found)


def test_a_limit_on_pictures_is_kept(tmp_path):
    # one unit shows up to 20 most and least exciting, 2 * 20 queries, and 2 * 18 in its two whole tasks, less shared ones
    _, data = built(tmp_path, n_pictures=200)
    assert 1 <= len(data["pictures"]) < 8
    assert {row for row, _ in data["play"]} <= set(map(int, data["pictures"]))
    assert 60 < len(data["path"]) <= 200
    text, data = built(tmp_path / "none", n_pictures=0)
    assert data["pictures"] == {}
    assert data["play"] == []
    assert "None has pictures" in text


def test_what_small_networks_leave_goes_to_the_large_ones():
    # 10 + 20 + 45 + 45 = 120
    assert listed_units.water_level([100, 10, 20, 90], 120) == 45
    assert listed_units.water_level([3, 5], 100) == 5
    assert listed_units.water_level([], 10) == 0
    assert listed_units.water_level([7, 7], 0) == 0


def test_even_places_hold_both_ends():
    assert listed_units.evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert listed_units.evenly(101, 3).tolist() == [0, 50, 100]
    assert listed_units.evenly(0, 3).tolist() == listed_units.evenly(3, 0).tolist() == []


def test_json_cannot_end_its_block_or_begin_markup():
    evil = "</script><!-- <script> & \u2028 ' \""
    written = as_json({"name": evil, "values": [1, None]})
    assert not {"<", ">", "&", "\u2028"} & set(written)
    assert json.loads(written) == {"name": evil, "values": [1, None]}


def test_thumbnails_share_sheets_and_none_spills_into_another():
    # picture i is flat grey of level i; a sheet of 1536 pixels holds 9 * 9 of 160
    def grey(image, size):
        return Image.new("RGB", (size, size), (image % 251,) * 3)

    sheets = thumbnails.make_sheets([250, 3, 250], [*range(200), 7, 7], 160, grey)
    assert sheets.images == (250, 3, *(i for i in range(200) if i != 3))
    assert (sheets.columns, sheets.per_sheet, len(sheets.uris)) == (9, 81, 3)
    last = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheets.uris[2].split(",")[1]))).convert("RGB"))
    assert last.shape == (5 * 160, 9 * 160, 3)  # places 162 to 200
    for place in range(39):
        row, column = divmod(place, 9)
        part = last[row * 160 : (row + 1) * 160, column * 160 : (column + 1) * 160].astype(int)
        # WebP smooths the edges of its blocks, of which none lies in two pictures
        assert np.abs(part[8:-8, 8:-8] - sheets.images[162 + place]).max() <= 2
        assert np.abs(part - sheets.images[162 + place]).max() <= 9


def test_whole_numbers_are_packed_into_as_few_bytes_as_the_largest_needs():
    for values, width in (([0, 255], 1), ([256, 3], 2), ([65_536], 4), ([], 1)):
        packed = packing.packed(np.array(values, dtype=np.int64))
        assert packed[0] == width
        assert unpacked(packed) == values
