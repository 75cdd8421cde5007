"""The check that a study can begin: parameters, roster, images, files that they name."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from interpretability.errors import InputError
from interpretability.files import sha256_file
from study.errors import message_of
from study.inputs import reaching
from study.inputs.settings import InputParams
from study.inputs.strangers import refuse_strangers
from study.networks.roster import read_roster, rows_of
from study.networks.similarity import chosen_encoder, encoder_model
from study.params.reading import build, content_of
from study.params.whole import load_params
from tests.helpers.copied_study import changed
from tests.helpers.rules import ROOT
from tools import check

HEADER = "name,constructor,weights,sha256,directions\n"


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """Call with changes of studies/custom.yaml and rows of its roster; checks it and returns what is printed."""
    monkeypatch.delenv("MIS_IMAGES", raising=False)
    monkeypatch.chdir(ROOT)
    (tmp_path / "pictures").mkdir()
    for number in range(400):  # not opened here
        (tmp_path / "pictures" / f"{number}.png").touch()
    monkeypatch.setattr(reaching, "unreachable", lambda address: "")

    def run(rows="net,test_vit,none,,\n", text="", **changes):
        yaml = YAML()
        content = yaml.load(ROOT / "studies/custom.yaml")
        (tmp_path / "my roster.csv").write_text(HEADER + rows)
        places = {"images": {"root": str(tmp_path / "pictures")}, "models": {"roster": str(tmp_path / "my roster.csv")}}
        for each in (places, {"scores": {"backends": ["pixel"]}}, changes):
            changed(content, each)
        yaml.dump(content, tmp_path / "params.yaml")
        with (tmp_path / "params.yaml").open("a") as file:
            file.write(text)
        check.main(["--params", str(tmp_path / "params.yaml")])

    return run


def test_a_study_that_can_begin_is_described(custom, capsys):
    custom()
    lines = capsys.readouterr().out.splitlines()
    assert "keys, all known" in lines[0]
    assert lines[1].startswith("images: folder: 400 files")
    assert lines[2] == "roster: 1 rows"


def test_bfloat16_is_warned_of(custom, capsys):
    custom(activations={"precision": "bfloat16"})
    assert "only means over networks are safe" in capsys.readouterr().out
    custom(activations={"precision": "float16"})
    assert "only means over" not in capsys.readouterr().out


def test_a_precision_that_this_machine_lacks_is_told_where_it_is_that_of_the_workers(custom, monkeypatch, capsys):
    monkeypatch.setenv("MIS_DEVICE", "cpu")
    custom(activations={"precision": "tf32"})
    assert "so networks run in float32" in capsys.readouterr().out
    monkeypatch.setenv("MIS_EXECUTOR", "ray")
    custom(activations={"precision": "tf32"})
    assert "so networks run in float32" not in capsys.readouterr().out


def test_weights_that_will_be_fetched_are_named(custom, capsys):
    custom(scores={"backends": ["lpips-alex"]})
    assert "alexnet-owt-7be5be79.pth (from https://" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"text": "extremes: 3\n"}, ["extremes is not a known key"]),
        ({"text": "seed: 3\n"}, ["key seed stands in line", "once more"]),
        ({"scores": {"backends": ["lpips"]}}, ["scores.backends names 'lpips'", "lpips-alex"]),
        ({"scores": {"backends": ["pixel; rm x"]}}, ["scores.backends names 'pixel; rm x'"]),
        ({"images": {"root": "nowhere"}}, ["nowhere", "images.root", "put it here: ln -s /path/to/pictures nowhere,"]),
        (
            {"tasks": {"n_tasks": 21}, "activations": {"n_extremes": 210}},
            [
                "400 images are too few",
                "2 * 21 * 10 = 420. Add at least 20, or lower tasks.n_tasks to 20",
                "tasks.n_explanations to 8",
            ],
        ),
        ({"images": {"root": "stages"}}, ["the image folder stages holds", "none is called as a picture is", ".jpg"]),
        ({"images": {"root": ""}}, ["images.source is folder, but neither", "MIS_IMAGES=/path/to/pictures dvc repro"]),
        (
            {"scores": {"backends": ["encoder"]}},
            ["scores.encoder.model is empty", "role similarity", "name one of net"],
        ),
        (
            {"scores": {"backends": ["encoder"], "encoder": {"model": "vit"}}},
            ["scores.encoder.model is 'vit'", "my roster.csv", "name one of net"],
        ),
        (
            {"scores": {"backends": ["encoder"], "encoder": {"model": "net-step1"}}},  # net is not trained here
            ["scores.encoder.model is 'net-step1'", "name one of net"],
        ),
        ({"scores": {"backends": ["dreamsin"]}}, ["params.yaml: scores.backends", "did you mean dreamsim?"]),
        (
            {"scores": {"backends": ["dreamsim-clip_vit32"]}},
            ["params.yaml: scores.backends", "did you mean dreamsim-clip_vitb32"],
        ),
        ({"rows": ""}, ["my roster.csv", "no rows"]),
        ({"rows": "net,,none,,\n"}, ["row 2 (net): constructor is empty", "timm or torchvision", "module:function"]),
        (
            {"rows": "net,resnet5O,none,,\nother,test_vit,none,,\n"},
            ["my roster.csv: net: constructor 'resnet5O' is no timm name", "did you mean resnet50"],
        ),
        ({"rows": "net,resnet50.a1_in2k,none,,\n"}, ["my roster.csv: net: timm has resnet50, but not", "a1_in1k"]),
        (
            {"models": {"roster": "data/external/models/costum.csv"}},
            ["models.roster is 'data/external/models/costum.csv'", "there are custom.csv, ", "a row a network"],
        ),
        ({"human": {"source": "pairs", "pairs": {"file": "p.csv", "model": "net"}}}, ["human.pairs.file is 'p.csv'"]),
        ({"rows": "net,made:make,w.pth,abc,\n"}, ["row 2 (net)", "3 of the 64", "sha256sum"]),
        ({"rows": f"net,made:make,w.pth,{'a' * 64},\n"}, ["my roster.csv: net", "w.pth", "data/external/weights"]),
        ({"rows": "net,test_vit,none,,norm=d.npy\n"}, ["my roster.csv: net", "d.npy"]),
        ({"rows": "net,test_vit,none,,norm\n"}, ["row 2 (net): directions is 'norm'", "LAYER=SOURCE"]),
        (
            {"human": {"source": "table", "table": {"file": "answers.csv"}}},
            ["human.table.file is 'answers.csv'", "data/external/human"],
        ),
        ({"activations": {"keep_file": "units.txt"}}, ["activations.keep_file is 'units/units.txt'"]),
        (
            {"activations": {"keep": ["n?t/x/1", "nets/x/1"]}, "sensitivity": {"models": ["ne*", "net"]}},
            [
                "params.yaml names networks that there are not:",
                "activations.keep names 'nets/x/1', whose network 'nets' is none of",
                "my roster.csv (did you mean net?); * stands for any text. Allowed: net",
                "sensitivity.models names 'ne*', which is none of",
            ],
        ),
        (
            {"stats": {"likeness": {"names": ["ResNet-50=resnet50"]}}},
            ["stats.likeness.names names 'ResNet-50=resnet50', whose network 'resnet50' is none of"],
        ),
    ],
)
def test_what_is_wrong_is_told_before_any_work(custom, monkeypatch, arguments, says):
    with pytest.raises(InputError) as error:
        custom(**arguments)
    assert all(part in message_of(error.value) for part in says), message_of(error.value)


@pytest.mark.parametrize(
    ("key", "rest"),
    [
        ("activations.keep", "/x/1"),
        ("activations.windows", "/hard95"),
        ("visualisations.units", "/x/1"),
        ("tasks.one_sided", ""),
        ("scores.feature_models", ""),
        ("label_free.models", ""),
        ("label_free.localizability", ""),
        ("explanation_kinds.units", "/x/1"),
        ("explanations.units", "/x/1"),
        ("sensitivity.models", ""),
        ("sensitivity.map_models", ""),
    ],
)
def test_every_key_of_networks_is_looked_at(key, rest, tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("name,constructor\nnet,test_vit\n")
    content, (group, name) = content_of(ROOT / "studies/resolution.yaml"), key.split(".")
    content["models"]["roster"] = str(path)
    for named, refused in (("net", False), ("nobody", True)):
        content[group][name] = [f"{named}{rest}"]
        params = build(InputParams, content)
        with pytest.raises(InputError, match=f"{key} names 'nobody{rest}', ") if refused else nullcontext():
            refuse_strangers(params, rows_of(read_roster(path)), "params.yaml")


def test_checkpoints_may_be_named_and_networks_that_people_were_asked_about(custom, tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("name,constructor,weights,series\nnet,test_vit,trained,net\n")
    training = {"recipe": "a3", "a3": {"epochs": 4, "warmup_epochs": 1, "first_epoch": 2}}
    models = {"roster": str(path), "training": training}
    custom(models=models, sensitivity={"models": ["net-step0", "net-step0.25"]}, tasks={"one_sided": ["net-step?"]})
    with pytest.raises(InputError, match=r"'net-step4', which is none of .*series.csv \(did you mean net-step"):
        custom(models=models, sensitivity={"models": ["net-step4"]})
    people = {"source": "table", "table": {"file": "answers.csv", "model": "net"}}
    with pytest.raises(InputError) as error:
        custom(human=people, stats={"likeness": {"names": ["Inception=googlenet"]}})
    assert "names what is not there" in str(error.value), "the table alone"
    assert "googlenet" not in str(error.value)


@pytest.mark.parametrize("name", ["synthetic", "resolution", "imagenet", "training", "custom"])
def test_networks_of_prepared_studies_are_in_their_rosters(name):
    params = build(InputParams, content_of(ROOT / f"studies/{name}.yaml"))
    refuse_strangers(params, rows_of(read_roster(ROOT / params.models.roster)), name)


def test_a_digest_that_is_missing_is_printed_and_a_wrong_one_told(custom, tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    (tmp_path / "w.pth").write_bytes(b"weights")
    digest = sha256_file(tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=rf"row 2 \(net\): .*needed; write {digest} \(as sha256sum {tmp_path}/w.pth prints"
    ):
        custom("net,test_vit,w.pth,,\n")
    with pytest.raises(InputError, match=rf"net: w.pth has sha256 {digest}, the roster says a+; it is another file"):
        custom(f"net,test_vit,w.pth,{'a' * 64},\n")
    custom(f"net,test_vit,w.pth,{digest},\n")
    custom(f"net,test_vit,w.pth,{digest.upper()},\n")


def test_weights_that_can_neither_be_read_nor_fetched_stop_a_study_before_it_begins(
    custom, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(reaching, "unreachable", lambda address: f"{address} does not answer: no net")
    backends = ["dreamsim-clip_vitb32", "lpips-alex"]
    with pytest.raises(InputError) as error:
        custom(scores={"backends": backends})
    first, second = str(error.value).splitlines()
    assert "names dreamsim-clip_vitb32, whose weights are not on this machine, and https://github.com does not" in first
    assert f".zip, unpacked, as {tmp_path}/weights/clip_vitb32_single_lora/adapter_config.json, " in first
    assert f"alexnet-owt-7be5be79.pth as {tmp_path}/weights/alexnet-owt-7be5be79.pth; or name pixel" in second
    with pytest.raises(InputError, match=r"or take lpips-alex out of scores.backends"):  # pixel stands there already
        custom(scores={"backends": ["lpips-alex", "pixel"]})
    for name in ("alexnet-owt-7be5be79.pth", "alexnet-owt-7be5be79.safetensors"):  # either will do
        (tmp_path / "weights").mkdir(exist_ok=True)
        (tmp_path / "weights" / name).touch()
        custom(scores={"backends": ["lpips-alex"]})
        (tmp_path / "weights" / name).unlink()
    # who has the data of a study may never need the weights
    known = tmp_path / "inputs"
    (known / "similarities").mkdir(parents=True)
    (known / "similarities/lpips-alex.json").write_text('{"alexnet-owt-7be5be79.pth": "7be5be79"}')
    monkeypatch.setattr(check, "KNOWN", known)
    custom(scores={"backends": ["lpips-alex"]})
    assert "to be fetched when it is needed: " in capsys.readouterr().out


def test_the_encoder_is_the_first_network_of_role_similarity(custom, tmp_path):
    roles = "net,test_vit,none,study\nfirst,test_vit,none,similarity\nsecond,test_vit,none,similarity\n"
    path = tmp_path / "roles.csv"
    path.write_text(f"name,constructor,weights,role\n{roles}")
    custom(models={"roster": str(path)}, scores={"backends": ["encoder"]})
    rows = rows_of(read_roster(path))
    assert encoder_model("", rows, "roster", "why") == "first"
    assert encoder_model("net", rows, "roster", "why") == "net"
    assert chosen_encoder(("pixel", "encoder"), "", path) == "first"
    assert (
        chosen_encoder(("pixel",), "", path) == ""
    )  # for what is written beside the results, where parameters do not say it
    assert chosen_encoder(("encoder",), "second", path) == ""
    # of a training the last checkpoint, as the resolved roster has it
    path.write_text("name,constructor,role,last\nfirst-step0,test_vit,similarity,0\nfirst,test_vit,similarity,1\n")
    assert chosen_encoder(("encoder",), "", path) == "first"


def test_as_many_networks_may_lack_files_as_the_study_allows(custom, capsys):
    rows = f"net,test_vit,none,,\nother,test_vit,gone.pth,{'a' * 64},\n"
    custom(rows=rows, models={"max_failed": 0.5})
    assert "left out, as models.max_failed allows: " in capsys.readouterr().out


def test_checkpoints_of_a_training_can_be_the_encoder(tmp_path):
    from study.networks.similarity import check_encoder

    path = tmp_path / "series.csv"
    path.write_text("name,constructor,weights,series\nnet,test_vit,trained,net\nother,test_vit,trained,\n")
    rows = rows_of(read_roster(path))
    training = load_params(ROOT / "studies/synthetic.yaml").models.training
    cycle = replace(training, epochs=4)
    recipe = replace(training, recipe="a3", a3=replace(training.a3, epochs=11, every=5, first_epoch=2))
    never = ("net-step", "net-stepx", "net-step-1", "net-step03", "other-step1", "net-step5e-05", "net-step0.50")
    for settings, kept, others in (
        (cycle, ("net-step3",), ("net-step4", "net-step0.5")),
        (
            recipe,
            ("net-step0", "net-step0.00005", "net-step1", "net-step10"),
            ("net-step4", "net-step11", "other-step0.5"),
        ),
        (replace(recipe, a3=replace(recipe.a3, first_epoch=0)), ("net-step1",), ("net-step0.5",)),
    ):
        for name in kept:
            check_encoder(("encoder",), name, rows, "roster", settings)
        for name in (*never, *others):
            with pytest.raises(InputError, match=f"scores.encoder.model is '{name}'"):
                check_encoder(("encoder",), name, rows, "roster", settings)


def test_the_stage_that_looks_at_inputs_refuses_the_same(custom, tmp_path, monkeypatch, caplog):
    from stages import inputs

    custom()  # its files, changed below
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    roster, out = tmp_path / "my roster.csv", tmp_path / "inputs"
    words = ["--params", str(tmp_path / "params.yaml"), "--out", str(out)]

    def run(rows):
        roster.write_text(HEADER + rows)
        inputs.main(words)

    wrong = f"net,test_vit,w.pth,{'a' * 64},\n"
    for rows in (wrong, "net,resnet5O,none,,\n"):
        with pytest.raises(InputError, match=r"my roster.csv: net: "):
            run(rows)
    assert not out.exists()
    (tmp_path / "w.pth").write_bytes(b"weights")
    right = wrong.replace("a" * 64, sha256_file(tmp_path / "w.pth"))
    run(right)
    (tmp_path / "w.pth").unlink()
    run(right)  # who has the data may lack the file
    assert "counts as that which data/inputs describes" in caplog.text
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("keep_file: ''", "keep_file: gone.txt"))
    with pytest.raises(InputError, match=r"activations.keep_file is 'units/gone.txt'"):
        run(right)
