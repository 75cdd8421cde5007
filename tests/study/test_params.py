"""params.yaml: every key known, every value in its range, and all problems told at once."""

from __future__ import annotations

import re

import pytest
from ruamel.yaml import YAML

from interpretability.errors import InputError
from study.params.whole import keys, load_params
from tests.helpers.rules import ROOT

CHANGED_FIRST = ["images.root", "models.roster", "scores.backends", "tasks.n_tasks", "tasks.n_explanations"]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


def flat(content, prefix=""):
    found = []
    for name, value in content.items():
        found += flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return found


def problems(study, **changes):
    with pytest.raises(InputError) as caught:
        load_params(study.params(**changes))
    return str(caught.value)


def edited(study, pattern, new):
    """params.yaml with one line replaced: for what a YAML writer would spell in another way."""
    path = study.params()
    text, n = re.subn(rf"(?m)^( *){pattern}$", rf"\g<1>{new}", path.read_text())
    assert n == 1
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", [*STUDIES, ROOT / "params.yaml"], ids=lambda path: path.name)
def test_every_study_has_exactly_the_known_keys_in_their_order(path):
    found = flat(YAML(typ="safe").load(path.read_text()))
    if path.name == "custom.yaml":  # begins with what people change
        assert sorted(found) == sorted(keys())
        assert [key for key in found if key in CHANGED_FIRST] == CHANGED_FIRST
        first = found[: 1 + found.index(CHANGED_FIRST[-1])]
        assert {key.split(".")[0] for key in first} == {key.split(".")[0] for key in CHANGED_FIRST}
        groups = dict.fromkeys(key.split(".")[0] for key in found)
        assert all(
            next(key for key in found if key.split(".")[0] == name) in CHANGED_FIRST for name in list(groups)[:4]
        )
    else:
        assert found == keys()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_is_valid(path):
    load_params(path)


def test_the_studies_are_these_and_the_default_one_is_synthetic():
    assert [path.stem for path in STUDIES] == ["custom", "imagenet", "resolution", "synthetic", "training"]
    assert load_params(ROOT / "params.yaml") == load_params(ROOT / "studies/synthetic.yaml")


def test_values_arrive_with_their_types(study):
    params = load_params(study.params(human__simulated__slope=6, sensitivity__slopes=[1, 2.5]))
    assert params.tasks.n_tasks == 2
    assert params.human.simulated.slope == 6.0
    assert isinstance(params.human.simulated.slope, float)
    assert params.sensitivity.slopes == (1.0, 2.5)
    assert params.scores.backends == ("encoder", "oracle", "pixel", "null")


@pytest.mark.parametrize(("written", "value"), [("1e-3", 0.001), ("1E-3", 0.001), ("2", 2.0), ("+.5", 0.5)])
def test_numbers_are_read_as_yaml_1_2(study, written, value):
    path = edited(study, "default_slope: .*", f"default_slope: {written}")
    assert load_params(path).calibration.default_slope == value


def test_a_leading_zero_is_decimal_as_in_yaml_1_2(study):
    assert load_params(edited(study, "seed: .*", "seed: 010")).seed == 10


@pytest.mark.parametrize("written", ["no", "yes", "on", "Off", "n"])
def test_a_yaml_1_1_truth_value_is_text_and_so_refused(study, written):
    path = edited(study, "drop_first_last: .*", f"drop_first_last: {written}")
    with pytest.raises(InputError, match=rf"units.drop_first_last is '{written}' \(str\), it must be true or false"):
        load_params(path)


def test_no_is_an_allowed_title(study):
    path = edited(study, "title: .*", "title: no")
    assert load_params(path).report.title == "no"


def test_an_unknown_key_is_named_with_the_nearest_known_one(study):
    text = problems(study, tasks__n_task=3)
    assert "tasks.n_task is not a known key, did you mean tasks.n_tasks? (known here: n_tasks, n_explanations, " in text


def test_an_unknown_key_without_a_near_one_lists_what_is_known(study):
    assert "banana is not a known key (known here: seed, processor, images, models," in problems(study, banana=1)


def test_a_missing_key_is_named(study):
    path = edited(study, "n_tasks: 2", "# left out")
    with pytest.raises(InputError, match=r"tasks\.n_tasks is missing; studies/synthetic\.yaml shows every key"):
        load_params(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tasks__n_tasks": "twenty"}, "tasks.n_tasks is 'twenty' (str), it must be a whole number"),
        ({"tasks__n_tasks": 2.0}, "tasks.n_tasks is 2.0 (float), it must be a whole number"),
        ({"tasks__n_tasks": True}, "tasks.n_tasks is True (bool), it must be a whole number"),
        ({"ceiling__n_simulations": None}, "ceiling.n_simulations is None (NoneType), it must be a whole number"),
        ({"stats__confidence": False}, "stats.confidence is False (bool), it must be a number"),
        ({"stats__confidence": "95%"}, "stats.confidence is '95%' (str), it must be a number"),
        (
            {"stats__likeness__tables": ["b.csv|model"]},
            "stats.likeness.tables holds 'b.csv|model', it must read FILE|COLUMN OF NAMES|COLUMN, with any more",
        ),
        (
            {"stats__likeness__tables": ["b.csv|model|V1|V1"]},
            "stats.likeness.tables holds 'b.csv|model|V1|V1', it must read FILE|COLUMN OF NAMES|COLUMN",
        ),
        (
            {"stats__likeness__names": ["a="]},
            "stats.likeness.names holds 'a=', it must read NAME THERE=NAME IN THE ROSTER",
        ),
        ({"units__drop_first_last": 1}, "units.drop_first_last is 1 (int), it must be true or false"),
        ({"images__root": 5}, "images.root is 5 (int), it must be text, write it in quotes: '5'"),
        ({"units__layer_types": "Conv"}, "units.layer_types is 'Conv', it must be a list of text"),
        ({"sensitivity__n_tasks": [2, "5"]}, "sensitivity.n_tasks[1] is '5' (str), it must be a whole number"),
        ({"tasks": 3}, "tasks is 3, it must hold keys and values"),
        ({"human__simulated": None}, "human.simulated is None, it must hold keys and values"),
    ],
)
def test_a_value_of_another_type_is_refused(study, change, told):
    assert told in problems(study, **change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tasks__n_tasks": 1}, "tasks.n_tasks is 1, it must be at least 2"),
        ({"images__generated__size": 1024}, "images.generated.size is 1024, it must be at most 512"),
        ({"seed": -1}, "seed is -1, it must be at least 0"),
        ({"seed": 2**63}, f"seed is {2**63}, it must be at most {2**63 - 1}"),
        ({"images__max_rejected": float("nan")}, "images.max_rejected is nan, it must be at least 0"),
        ({"human__simulated__slope": float("nan")}, "human.simulated.slope is nan, it must be a finite number above 0"),
        ({"human__simulated__slope": float("inf")}, "human.simulated.slope is inf, it must be a finite number above 0"),
        ({"calibration__fraction": 0.0}, "calibration.fraction is 0.0, it must be a finite number above 0"),
        ({"calibration__fraction": 5}, "calibration.fraction is 5.0, it must be at most 1"),
        ({"images__source": "zip"}, "images.source is 'zip', allowed: generated, folder, tar, timm"),
        ({"units__layer_types": ["Conv", "Relu"]}, "units.layer_types[1] is 'Relu', allowed: Conv, Linear, BatchNorm"),
        ({"scores__backends": []}, "scores.backends is empty, it needs at least one entry"),
        ({"scores__backends": ["pixel", "pixel"]}, "scores.backends names pixel twice"),
        ({"models__roster": ""}, "models.roster is empty"),
    ],
)
def test_a_value_out_of_range_is_refused(study, change, told):
    assert told in problems(study, **change)


def test_an_unquoted_null_says_how_to_write_the_backend(study):
    path = edited(study, "- 'null'", "- null")
    with pytest.raises(InputError, match=r"scores\.backends\[3\] is None .* write it in quotes: 'null'"):
        load_params(path)


def test_more_task_images_than_extremes_names_both_keys_and_the_way_out(study):
    text = problems(study, tasks__n_tasks=5)
    assert "tasks.n_tasks * (tasks.n_explanations + 1) = 5 * 5 = 25 images a side" in text
    assert "activations.n_extremes keeps only 20; raise activations.n_extremes to at least 25" in text
    assert "or lower tasks.n_tasks or tasks.n_explanations" in text
    assert "sensitivity" not in text, "one mistake is told once"


def test_exactly_as_many_task_images_as_extremes_are_allowed(study):
    load_params(study.params(tasks__n_tasks=4))


def test_too_few_generated_images_are_refused(study):
    text = problems(study, images__generated__n=19)
    assert "images.generated.n is 19, but tasks.n_tasks = 2 with tasks.n_explanations = 4 need 2 * 10 = 20" in text
    load_params(study.params(images__generated__n=20))


def test_the_number_of_generated_images_does_not_matter_for_a_folder(study):
    load_params(study.params(images__source="folder", images__generated__n=1, human__source="none"))


@pytest.mark.parametrize("key", ["n_tasks", "n_explanations"])
def test_sensitivity_settings_beyond_the_extremes_are_refused(study, key):
    # 5 * (4 + 1) = 25 and 2 * (11 + 1) = 24 are more than 20
    text = problems(study, **{f"sensitivity__{key}": [2, 5 if key == "n_tasks" else 11]})
    assert "sensitivity.n_tasks and sensitivity.n_explanations need up to" in text
    assert "activations.n_extremes keeps only 20" in text


def test_an_unknown_backend_is_refused_before_any_work(study):
    assert "'pixels'" in problems(study, scores__backends=["pixels"])


ENOUGH = {"images__generated__n": 800}  # of which one percent are as many as explain


def test_harder_conditions_need_natural_ones_and_windows_or_kept_columns(study):
    told = problems(study, tasks__conditions=["hard95"], activations__keep=[])
    assert "tasks.conditions is hard95, it must name natural" in told
    assert "tasks.conditions names hard95, whose queries come from activations.windows" in told
    assert "activations.windows has no entry like */hard95, and activations.keep and activations.keep_file" in told
    assert "hard90" in problems(study, tasks__conditions=["natural", "hard90"])
    study.params(tasks__conditions=["natural", "hard95"], activations__keep_file="imi.txt", **ENOUGH)
    load_params(study.folder / "params.yaml")
    harder = {"tasks__conditions": ["natural", "hard95", "hard99"], **ENOUGH}
    told = problems(study, **harder, activations__windows=["net/hard99"])
    assert "tasks.conditions names hard95" in told
    assert "names hard99" not in told
    study.params(**harder, activations__windows=["net/hard99", "*/hard95"])
    load_params(study.folder / "params.yaml")


@pytest.mark.parametrize("entry", ["hard99", "net/natural", "/hard85", "net/layer/hard85"])
def test_windows_are_a_network_and_a_harder_condition(study, entry):
    told = problems(study, activations__windows=[entry])
    assert f"activations.windows names {entry!r}, it must have the form network/condition, where * stands" in told
    assert "the condition is one of hard99, hard95, hard85" in told


def test_windows_nobody_asks_about_are_refused(study):
    told = problems(study, activations__windows=["*/hard85"])
    assert "activations.windows names '*/hard85', but tasks.conditions does not name hard85" in told


def test_harder_conditions_need_images_behind_those_that_explain(study):
    sizes = {"tasks__n_tasks": 20, "tasks__n_explanations": 9, "activations__n_extremes": 200}
    sizes |= {"images__generated__n": 4000, "sensitivity__n_tasks": [20], "sensitivity__n_explanations": [9]}
    told = problems(study, **sizes, tasks__conditions=["natural", "hard99"], activations__windows=["*/hard99"])
    assert "tasks.conditions names hard99, whose queries start at rank 40 of images.generated.n = 4000 images" in told
    assert "= 180 ranks explain; raise images.generated.n to at least 18000" in told
    load_params(study.params(**sizes, tasks__conditions=["natural", "hard85"], activations__windows=["*/hard85"]))


def test_tuning_needs_families(study):
    told = problems(study, tuning__backends=["oracle"], scores__backends=["oracle"], tuning__families=[])
    assert "tuning.families is empty, but tuning.backends names similarities; name diagonal, low_rank or both" in told


def test_tasks_of_the_record_need_its_map_and_its_number_of_explanations(study):
    told = problems(study, tasks__source="imi", human__imi__image_map="map.json")
    assert "human.imi.image_map is 'map.json'; name the map of images, which must lie in" in told
    assert "tasks.n_explanations is 4; the map holds tasks of 9" in told


def test_simulated_observers_need_generated_scenes(study):
    assert "human.source is simulated, but images.source is not generated" in problems(study, images__source="folder")


def test_judged_pairs_need_a_file_and_a_network(study):
    told = problems(study, human__source="pairs")
    assert "human.pairs.file is empty; give the name of a file in data/external/human" in told
    assert "human.pairs.model is empty; give the roster name" in told


def test_all_problems_are_told_at_once(study):
    text = problems(study, seed=-1, tasks__n_task=1, images__source="zip", stats__confidence="high")
    assert text.splitlines()[0].endswith("params.yaml:")
    assert len(text.splitlines()) == 5
    for key in ("seed", "tasks.n_task", "images.source", "stats.confidence"):
        assert f"\n  {key} is " in text


def test_a_missing_file_says_where_to_get_one(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml: no such file\. Copy one of studies/\*\.yaml there"):
        load_params(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("content", "key", "line"), [("seed: 1\nseed: 2\n", "seed", 2), ("a:\n  b: 1\n  c: 1\n  b: 1\n", "b", 4)]
)
def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path, content, key, line):
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"odd\.yaml: key {key} stands in line {line} once more"):
        load_params(path)


@pytest.mark.parametrize("content", [b"seed: [1", b"- seed\nseed: 2\n", b"\xff\xfeseed: 1"])
def test_what_is_no_yaml_is_refused_with_the_name_of_the_file(tmp_path, content):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.yaml is not valid YAML"):
        load_params(path)


@pytest.mark.parametrize("content", ["", "- 1\n", "seed\n"])
def test_a_file_without_keys_is_refused(tmp_path, content):
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"the file is .* it must hold keys and values"):
        load_params(path)
