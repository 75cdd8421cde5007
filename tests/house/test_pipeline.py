"""Rules of the pipeline: who may import whom, and that dvc.yaml says all that the code does."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
from ruamel.yaml import YAML

from study.params.whole import Params, keys, load_params
from tests.helpers.rules import ROOT
from tools.dependencies import PACKAGES, REFUSES_ONLY, chains, closure, folded, module_files, reruns

PIPELINE = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
ALWAYS = [
    name for name, stage in PIPELINE.items() if stage.get("always_changed")
]  # DVC asks for nothing that they read
CACHED = [name for name in PIPELINE if name not in ALWAYS]
ENTRIES = {f"stages/{name}.py" for name in PIPELINE}
FOLDERS = {"data/scores": "scores"}  # owned by the group of a matrix
FLAGS = re.compile(r"--(\S+) (\S+)")
OUTSIDE = {"--params", "--backend"}
# Dependencies that a command need not name: what describes inputs outside of the repository, and the roster, which a parameter
# names.
MARKS = ("data/inputs", "${models.roster}")


def names(entries):
    """Paths of deps, outs or metrics, without their options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def written(stage):
    return [*names(stage.get("outs", [])), *names(stage.get("metrics", []))]


def test_every_stage_has_its_entry_point_and_a_description():
    for name, stage in PIPELINE.items():
        assert (ROOT / f"stages/{name}.py").is_file()
        assert stage["cmd"].startswith(f"python -m stages.{name} ")
        assert stage["desc"]


# to load scipy.stats takes half of the time that the stage `inputs` needs, which runs at every `dvc repro`
LIGHT = ("activations", "images", "inputs", "label_free", "mis", "models", "scores", "tasks", "visualisations")


def test_a_stage_without_statistics_does_not_wait_for_those_of_scipy():
    import subprocess
    import sys

    code = f"import importlib, sys; [importlib.import_module('stages.' + name) for name in {LIGHT}]; "
    code += "print('scipy.stats' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def python_files(folder):
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("name", CACHED)
def test_p4_code_deps_are_the_import_closure(name):
    listed = [dep for dep in names(PIPELINE[name]["deps"]) if dep.split("/")[0] in PACKAGES]
    assert listed == closure(f"stages/{name}.py"), "run: python -m tools.dependencies --write"


def test_a_folder_stands_for_its_files_where_most_of_them_are_reached(tmp_path):
    files = [f"study/{name}.py" for name in ("a/one", "a/two", "a/three", "b/one", "b/two", "b/c/one", "d/one")]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x = 1\n")
    some = {"study/a/one.py", "study/a/two.py", "study/b/one.py", "study/d/one.py"}
    assert folded(some, tmp_path) == ["study/a", "study/b/one.py", "study/d/one.py"]
    assert folded(some | {"study/b/c/one.py"}, tmp_path) == ["study/a", "study/b", "study/d/one.py"]


@pytest.mark.parametrize("name", PIPELINE)
def test_p5_paths_of_the_command_are_deps_or_outs_and_the_other_way(name):
    stage = PIPELINE[name]
    flags = {f"--{flag}": path for flag, path in FLAGS.findall(stage["cmd"])}
    paths = {path for flag, path in flags.items() if flag not in OUTSIDE}
    read = {dep for dep in stage.get("deps", []) if dep.split("/")[0] not in PACKAGES}
    unnamed = {dep for dep in read if dep.startswith(MARKS)} - paths
    assert paths == read - unnamed | set(written(stage))


def test_no_value_of_the_parameters_reaches_a_shell_but_names_of_similarities():
    for name, stage in PIPELINE.items():
        assert set(re.findall(r"\$\{(.*?)\}", stage["cmd"])) <= {"item.backend"}, name


def test_p5_no_other_path_is_written_in_the_code():
    """A literal path below data, results or reports in an entry point is a default of a flag of its command."""
    for name, stage in PIPELINE.items():
        tree = ast.parse((ROOT / f"stages/{name}.py").read_text())
        docs = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                for path in re.findall(r"(?:data|results|reports)/[\w./-]+", node.value):
                    spelled = isinstance(node.value, str) and " " in node.value  # prose of a message
                    assert spelled or path in stage["cmd"], f"{name}: {path}"


def test_p6_every_folder_has_one_owner():
    owners: dict[str, str] = {}
    for name, stage in PIPELINE.items():
        for path in written(stage):
            assert path not in owners, f"{path} is written by {owners.get(path)} and {name}"
            owners[path] = name
    assert not [(a, b) for a in owners for b in owners if b.startswith(f"{a}/")], "no out lies inside another"
    results = {name for path, name in owners.items() if path.startswith("results/")}
    assert results == {"stats", "report"}
    assert {path for path, name in owners.items() if path.startswith("results/") and name == "report"} == {
        "results/plots"
    }
    readers = {
        name for name, stage in PIPELINE.items() if any(dep.startswith("results/") for dep in stage.get("deps", []))
    }
    assert readers == {"report"}


@pytest.mark.parametrize("name", [name for name in PIPELINE if name not in ("images", "models")])
def test_p7_aggregators_never_glob(name):
    tree = ast.parse((ROOT / f"stages/{name}.py").read_text())
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        used = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        # the one exception lists, in an error message, which exports are possible
        assert not used & {"glob", "iterdir", "rglob", "listdir"} or function.name == "export"


def test_p8_every_key_is_consumed_and_every_entry_is_a_key():
    known, used = set(keys()), set()
    groups = {key.rsplit(".", i)[0] for key in known for i in range(1, key.count(".") + 1)}
    for name, stage in PIPELINE.items():
        for entry in stage.get("params", []):
            if isinstance(entry, dict):
                assert name == "stats"  # provenance records every parameter
                used |= {key for key in known if key.startswith("stats.")}
                continue
            assert entry in known | groups, f"{name}: {entry}"
            if entry in groups and "." not in entry:
                owner = {"units": "activations", "images": "images"}.get(entry, entry)
                assert owner == name, f"group {entry} belongs to {owner}, not to {name}"
            used |= {key for key in known if key == entry or key.startswith(f"{entry}.")}
    named = {key for key in known if "${" + key + "}" in (ROOT / "dvc.yaml").read_text()}
    assert known == used | named


# Of `images` these only refuse a study early: they change no byte of its outs, and a change of them must not find or draw
# all images once more.
EARLY = {
    # `inputs` runs every time; it refuses too few images, networks that the roster has not, and files that are not there
    "inputs": {
        "tasks.n_tasks",
        "tasks.n_explanations",
        "tasks.conditions",
        "tasks.source",
        "scores.encoder.model",
        "models.max_failed",
        "models.training.epochs",
        "models.training.recipe",
        "models.training.a3.epochs",
        "activations.keep",
        "activations.keep_file",
        "activations.windows",
        "explanation_kinds.units",
        "explanations.units",
        "human.source",
        "human.imi.responses",
        "human.imi.image_map",
        "human.table.file",
        "human.pairs.file",
        "label_free.localizability",
        "label_free.models",
        "scores.feature_models",
        "sensitivity.map_models",
        "sensitivity.models",
        "stats.likeness.decisions",
        "stats.likeness.names",
        "stats.likeness.tables",
        "tasks.one_sided",
        "visualisations.units",
    },
    "images": {"tasks.n_tasks", "tasks.n_explanations", "tasks.conditions", "tasks.one_sided", "tasks.source"},
    # `activations` refuses windows whose queries would be explanations
    "activations": {"tasks.n_explanations"},
    # `models` tries the layer of the encoder
    "models": {"scores.backends", "scores.encoder.model", "scores.encoder.layer"},
}


def kinds_read(name):
    """Dataclasses that an entry point reads params.yaml as."""
    tree, module = ast.parse((ROOT / f"stages/{name}.py").read_text()), importlib.import_module(f"stages.{name}")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    kinds = [
        eval(ast.unparse(call.args[1]), vars(module))
        for call in calls
        if call.func.id == "load" and ast.unparse(call.args[0]) == "args.params"
    ]
    return kinds + [Params for call in calls if call.func.id == "load_params"]


@pytest.mark.parametrize("name", PIPELINE)
def test_p8_a_stage_declares_just_the_parameters_that_it_reads(name):
    entries = PIPELINE[name].get("params", [])
    (kind,) = kinds_read(name)
    if kind is Params:
        assert entries == [{"params.yaml": None}], "the whole file"
        return
    declared = {key for key in keys() for entry in entries if key == entry or key.startswith(f"{entry}.")}
    assert set(keys(kind)) - EARLY.get(name, set()) == declared


@pytest.mark.parametrize("name", PIPELINE)
def test_p8_what_a_stage_reads_has_the_types_of_the_whole(name):
    def types(kind):
        hints = get_type_hints(kind)
        return {name: types(hint) if is_dataclass(hint) else hint for name, hint in hints.items()}

    def compare(part, whole):
        for key, hint in part.items():
            assert key in whole
            if isinstance(hint, dict):
                compare(hint, whole[key])
            else:
                assert hint == whole[key], key

    for kind in kinds_read(name):
        compare(types(kind), types(Params))


def test_only_stats_depends_on_all_groups():
    """Others load the module of all groups by name: it can only refuse a study."""
    assert [name for name in PIPELINE if REFUSES_ONLY in chains(f"stages/{name}.py")] == ["stats"]
    assert module_files("study.params.whole")[-1] == REFUSES_ONLY
    loaded = (ROOT / "study/params/reading.py").read_text()
    assert 'importlib.import_module("study.params.whole").load_params(path)' in loaded


# Stages that an edit reruns: where it grows, a definition that one stage needs has come to lie among those of many.
RERUNS = {
    "study/params/report.py": 2,  # stats records all parameters
    "study/params/tasks.py": 3,  # images refuses early
    "interpretability/synthetic/scenes.py": 2,
    "study/networks/building.py": 9,
    "study/images/finding.py": 4,  # lies among readers of pictures
    "interpretability/tasks/natural.py": 2,
    "interpretability/synthetic/training.py": 1,
    "interpretability/people/agreement.py": 1,
    "study/people/answers_from_imi.py": 1,
    "study/images/feed.py": 3,
    "interpretability/people/ceiling.py": 2,
    "interpretability/analysis/group_tests.py": 1,
}


def test_an_edit_reruns_few_stages():
    found = reruns(CACHED)
    assert {file: len(found[file]) for file in RERUNS} == RERUNS


@pytest.mark.parametrize("study", sorted(path.name for path in (ROOT / "studies").glob("*.yaml")))
def test_studies_have_the_same_keys_and_are_valid(study):
    params = load_params(ROOT / "studies" / study)
    content = YAML(typ="safe").load((ROOT / "studies" / study).read_text())
    assert set(content) == set(YAML(typ="safe").load((ROOT / "params.yaml").read_text()))
    assert (ROOT / params.models.roster).is_file()


def test_the_default_study_is_the_synthetic_one():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "studies/synthetic.yaml").read_text()


def test_parameters_are_in_block_style_with_a_comment_each():
    for line in (ROOT / "params.yaml").read_text().splitlines():
        value = line.split("#")[0].removeprefix("- ").partition(": ")[2].strip()
        assert not value.startswith("{")
        assert not value.startswith("[") or value == "[]"


def test_similarities_are_named_by_their_files():
    from interpretability.similarity import registry

    files = {path.stem for path in (ROOT / "interpretability/similarity/backends").glob("*.py")} - {"__init__"}
    assert set(registry.families()) == files


@pytest.mark.parametrize(
    ("name", "least"),
    [("requirements.lock", 50), ("requirements-cluster.lock", 10), ("requirements-datasets.lock", 10)],
)
def test_lock_has_no_address_and_hashes_for_all(name, least):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, flags=re.MULTILINE), (
        "no option but hashes, so none that names a place"
    )
    packages = re.findall(r"^[a-z0-9][\w.-]*==", text, flags=re.MULTILINE)
    assert len(packages) > least
    for block in re.split(r"\n(?=[a-z0-9][\w.-]*==)", text)[1:]:
        assert "--hash=sha256:" in block


@pytest.mark.parametrize(
    ("name", "added"), [("requirements-cluster.lock", "ray"), ("requirements-datasets.lock", "datasets")]
)
def test_the_lock_of_what_is_optional_moves_no_pin_of_another_one(name, added):
    def pins(name):
        return set(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)((?: ;.*)?)", (ROOT / name).read_text(), flags=re.MULTILINE))

    def moved(others):
        versions = {}
        for package, version, _ in others:
            versions.setdefault(package, set()).add(version)
        return [
            (package, version) for package, version, _ in pins(name) if version not in versions.get(package, {version})
        ]

    assert len({package for package, *_ in pins(name)} & {package for package, *_ in pins("requirements.lock")}) > 5
    for other in ("requirements.lock", "requirements-cluster.lock", "requirements-datasets.lock"):
        assert not moved(pins(other)), other
    assert added in {package for package, *_ in pins(name) - pins("requirements.lock")}


def test_tracked_text_names_no_machine():
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    home = re.compile(r"/(?:home|root|work|Users|mnt|srv)/\w+")
    for name in listed:
        path = Path(ROOT / name)
        if (
            path.suffix in (".py", ".yaml", ".md", ".toml", ".csv", ".json", ".j2", "")
            and path.is_file()
            and not re.fullmatch(r"requirements(-\w+)?\.lock", name)
        ):
            assert not home.search(path.read_text(errors="replace")), name
