"""Code dependencies of every stage, found by following imports, and written into dvc.yaml.

DVC does not look into Python files: a stage reruns when a file named in its `deps` changes. This follows the imports of a
stage's entry point (also those inside functions, but for type checking alone) to every file that they reach.

Run     python -m tools.dependencies                     compare dvc.yaml with the imports; exits with 1 if they differ
        python -m tools.dependencies --write             put the files into dvc.yaml; everything else in it stays
        python -m tools.dependencies --why STAGE FILE    the shortest chain of imports from a stage to a file
        python -m tools.dependencies --reruns            how many stages an edit of each file reruns
"""

from __future__ import annotations

import ast
import re
import sys
from collections import deque
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from study.command import arguments

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("interpretability", "study", "stages")
# Files that are found by name at run time: whoever reaches one of the folder, reaches all of them.
BY_NAME = ("interpretability/similarity/backends",)
# Loaded by name, because a stage that depended on it would depend on every group of parameters. It can only refuse a study.
REFUSES_ONLY = "study/params/whole.py"
MOST = 2 / 3  # of a folder's files, from which on the folder stands for them


def module_files(name: str, root: Path = ROOT) -> list[str]:
    """Files behind a dotted local module: itself and the packages around it."""
    parts = name.split(".")
    files = []
    for end in range(1, len(parts) + 1):
        module = root.joinpath(*parts[:end])
        candidates = (module / "__init__.py", module.with_suffix(".py"))
        files += [path.relative_to(root).as_posix() for path in candidates if path.is_file()]
    return files


@cache
def imports(file: str, root: Path = ROOT, packages: tuple[str, ...] = PACKAGES) -> frozenset[str]:
    """Local files that a file imports anywhere in it, except for type checking alone."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    reached: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in packages:
                reached.update(module_files(name, root))
    for folder in BY_NAME:
        if any(path.startswith(f"{folder}/") for path in reached):
            reached.update(path.relative_to(root).as_posix() for path in (root / folder).glob("*.py"))
    return frozenset(reached - {file})


@cache
def chains(file: str, root: Path = ROOT) -> dict[str, str | None]:
    """Every local file that a file reaches, with the file by which it is reached first; the file itself with None."""
    before: dict[str, str | None] = {file: None}
    waiting = deque([file])
    while waiting:
        current = waiting.popleft()
        around = {current.rsplit("/", i)[0] + "/__init__.py" for i in range(1, current.count("/") + 1)}
        around = {path for path in around if (root / path).is_file()}
        for reached in sorted((imports(current, root) | around) - before.keys()):
            before[reached] = current
            waiting.append(reached)
    return before


def closure(file: str, root: Path = ROOT) -> list[str]:
    """What dvc.yaml should list for an entry point: sorted files, and a folder where most files in it are reached.

    DVC writes dvc.lock anew after every stage, in one to two seconds for 8,000 lines of it. So files that hold words alone are
    left out, and a few files count that are not reached: an edit of theirs reruns the stage for nothing.
    """
    return folded({reached for reached in chains(file, root) if not words_alone(reached, root)}, root)


@cache
def words_alone(file: str, root: Path = ROOT) -> bool:
    """Whether a file is the `__init__.py` of a package with no more than a docstring in it."""
    return file.endswith("/__init__.py") and all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in ast.parse((root / file).read_text(encoding="utf-8")).body
    )


def folded(files: set[str], root: Path = ROOT) -> list[str]:
    """The same files, with a folder in place of its files wherever several are there and they are most of it."""
    folders = sorted({parent for file in files for parent in map(str, Path(file).parents) if "/" in parent})
    for folder in sorted(folders, key=lambda path: path.count("/"), reverse=True):
        inside = {path.relative_to(root).as_posix() for path in (root / folder).rglob("*.py")}
        inside = {file for file in inside if not words_alone(file, root)}
        covered = {file for file in inside if file in files or any(file.startswith(f"{path}/") for path in files)}
        if len(covered) > 1 and len(covered) >= MOST * len(inside):
            files = {file for file in files if not file.startswith(f"{folder}/")} | {folder}
    return sorted(files)


def stages(text: str) -> dict[str, list[str]]:
    """Code dependencies of each stage as a dvc.yaml lists them; one that runs always has none."""
    content = YAML(typ="safe").load(text)["stages"]
    listed = {
        name: [next(iter(d)) if isinstance(d, dict) else d for d in stage["deps"]]
        for name, stage in content.items()
        if not stage.get("always_changed")
    }
    return {name: [dep for dep in deps if dep.split("/")[0] in PACKAGES] for name, deps in listed.items()}


def entry(stage: str) -> str:
    return f"stages/{stage}.py"


def rewritten(text: str) -> str:
    """A dvc.yaml with the code dependencies of every stage behind its data; comments and all other lines stay."""
    lines, out, stage, in_deps = text.splitlines(), [], "", False
    own = re.compile(rf"    - ({'|'.join(PACKAGES)})/\S+")

    def finish() -> None:
        out.extend(f"    - {file}" for file in closure(entry(stage)))

    for line in lines:
        if in_deps and not line.startswith("    - ") and not line.startswith("    #"):
            finish()
            in_deps = False
        if name := re.fullmatch(r"  (\w+):", line):
            stage = name[1]
        if in_deps and own.fullmatch(line):
            continue
        out.append(line)
        in_deps = in_deps or line == "    deps:"
    if in_deps:
        finish()
    return "\n".join(out) + "\n"


def why(stage: str, file: str) -> str:
    """The chain of imports from a stage's entry point to a file, one a line."""
    before = chains(entry(stage))
    if file not in before:
        listed = next((path for path in closure(entry(stage)) if file.startswith(f"{path}/")), None)
        return f"{stage} does not reach {file}" + (f", but most of {listed}, which it lists" if listed else "")
    chain = [file]
    while (earlier := before[chain[-1]]) is not None:
        chain.append(earlier)
    return "\n".join(f"{'  ' * depth}{path}" for depth, path in enumerate(reversed(chain)))


def reruns(names: list[str]) -> dict[str, list[str]]:
    """For each file of the code, the stages that an edit of it reruns."""
    reached: dict[str, set[str]] = {}
    for name in names:
        reached[name] = set(chains(entry(name)))
        for listed in closure(entry(name)):
            reached[name].update(path.relative_to(ROOT).as_posix() for path in (ROOT / listed).rglob("*.py"))
    files = sorted(set().union(*reached.values()))
    return {file: [name for name in names if file in reached[name]] for file in files}


def main(argv: list[str] | None = None) -> None:
    flags = {
        "write": {"action": "store_true", "help": "put the files into dvc.yaml"},
        "why": {"nargs": 2, "metavar": ("STAGE", "FILE"), "help": "chain of imports from a stage to a file"},
        "reruns": {"action": "store_true", "help": "stages that an edit of each file reruns"},
    }
    args = arguments(__doc__, argv, flags=flags)
    path = ROOT / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    if args.why:
        print(why(*args.why))
    elif args.reruns:
        for file, names in reruns(list(stages(text))).items():
            print(f"{len(names):3d}  {file}  {' '.join(names)}")
    elif args.write:
        path.write_text(rewritten(text), encoding="utf-8")
    elif wrong := [name for name, listed in stages(text).items() if listed != closure(entry(name))]:
        sys.exit(
            f"dvc.yaml lists other files than the imports reach: {', '.join(wrong)}. Run: python -m tools.dependencies --write"
        )


if __name__ == "__main__":
    main()
