"""What the pipeline tests know about the code: which local files an entry point reaches by imports."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIMILARITIES = "stages/science/similarity"  # its files are found by name at run time, so the folder stands for them


def module_files(name: str) -> list[str]:
    """Files behind a dotted local module: itself and the packages around it."""
    parts = name.split(".")
    files = []
    for end in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:end])
        candidates = (place / "__init__.py", place.with_suffix(".py"))
        files += [path.relative_to(ROOT).as_posix() for path in candidates if path.is_file()]
    return files


@cache
def imports(file: str) -> frozenset[str]:
    """Local files that a file imports anywhere in it, except for type checking alone."""
    tree = ast.parse((ROOT / file).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "stages":
                found.update(module_files(name))
    return frozenset(found)


def closure(file: str) -> set[str]:
    """A file and everything local that it reaches; all similarities count as their folder."""
    seen: set[str] = set()
    waiting = [file, "stages/__init__.py"]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        reached = set(imports(current))
        if any(each.startswith(SIMILARITIES) for each in reached):
            reached.update(path.relative_to(ROOT).as_posix() for path in (ROOT / SIMILARITIES).glob("*.py"))
        waiting.extend(reached - seen)
    inside = {each for each in seen if each.startswith(SIMILARITIES + "/")}
    return (seen - inside) | ({SIMILARITIES} if inside else set())
