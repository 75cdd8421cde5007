"""Files that a roster and a similarity name, by the digest of what is in them."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from interpretability.files import sha256_file
from interpretability.weights import WeightsFile
from study.environment import COMPUTING, Environment
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import write_json
from study.inputs.digests import Digests
from study.log import logger
from study.networks import activation_tables, files, own_code
from study.networks.direction_cells import taken_apart
from study.networks.roster import NO_FILE, RosterRow, is_table

log = logger("inputs")

MISSING = "missing"
_BACKENDS = Path(__file__).resolve().parents[2] / "interpretability" / "similarity" / "backends"


def network_files(
    rows: Sequence[RosterRow], code: Path, digests: Digests, known: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Digest of every file of the networks of a roster that DVC does not see, and what is wrong with those that are not there or
    are others than the roster means, by the name of a network that needs them. Those that are not there have the digest `known`
    from an earlier look, if any, and count as unchanged.

    Files of weights, directions and activations go by what the roster calls them; those that its kwargs name, and code outside
    of the folder `code`, by their paths.
    """
    found: dict[str, str] = {}
    problems: dict[str, list[str]] = {}
    paths: dict[str, Path] = {}
    for row in rows:
        named: dict[str, Callable[[], Path]] = {}
        if row["weights"] not in NO_FILE:
            named[row["weights"]] = lambda row=row: files.weights_file(row, Path())[0]
        if row["directions"] and (file := taken_apart(row["directions"]).file):
            named[row["directions"]] = lambda file=file: files.user_file(file)
        if is_table(row):
            for name in activation_tables.named_files(row):
                named[name] = partial(activation_tables.table_file, name)
        for name, find in named.items():
            try:
                paths[name] = find()
            except StudyError as error:
                found[name] = known.get(name, MISSING)
                if found[name] == MISSING:
                    problems.setdefault(row["name"], []).append(str(error))
                else:
                    log.warning("%s: %s. Until then it counts as that which data/inputs describes", row["name"], error)
        others = [*_texts(json.loads(row["kwargs"] or "{}")), *map(str, own_code.outside_files(row, code))]
        paths |= {name: Path(name) for name in others if _is_file(name)}
    digests.read(paths.values())
    found |= {name: digests.of(path) for name, path in paths.items()}
    for row in rows:
        if row["weights"] in paths and row["sha256"] and found[row["weights"]] != row["sha256"].lower():
            problems.setdefault(row["name"], []).append(
                files.other_digest(row, paths[row["weights"]], found[row["weights"]])
            )
    return found, {name: "; ".join(told) for name, told in problems.items()}


def _texts(content: object) -> Iterator[str]:
    """All texts in JSON."""
    if isinstance(content, str):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _texts(part)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long, or with characters that no name has
        return False


def similarity_files(name: str, digests: Digests, known: Mapping[str, str]) -> tuple[dict[str, str], list[WeightsFile]]:
    """Digest of every file of weights of a similarity, by its own name, and those that have to be fetched.

    One that has to be fetched has the digest `known` from an earlier look, else the beginning of that which its hub publishes,
    else its address. The file that a hub publishes has the beginning as well, before and after it is fetched.
    """
    folder, found, absent = Environment.read().weights, {}, []
    for file in _weights_files(name):
        path, published = file.path_in(folder), file.sha256 or file.url
        if path is None:
            absent.append(file)
        digest = known.get(file.names[0], published) if path is None else digests.of(path)
        found[file.names[0]] = published if file.sha256 and digest.startswith(file.sha256) else digest
    return found, absent


def _weights_files(name: str) -> list[WeightsFile]:
    """What `registry` says of a similarity, kept in the store: the packages behind it take seconds to load."""
    store = WorkStore.open()
    key = {
        "similarity": name,
        "code": {path.name: sha256_file(path) for path in sorted(_BACKENDS.glob("*.py"))},
        "packages": {package: importlib.metadata.version(package) for package in COMPUTING},
    }

    def ask(path: Path) -> None:
        from interpretability.similarity import registry

        files = registry.family_of(name).weights_files(name)
        write_json(path, {"files": [[list(file.names), file.url, file.sha256] for file in files]})

    content = json.loads(store.fetch("weights_files", key, ".json", ask).read_text(encoding="utf-8"))
    return [WeightsFile(tuple(names), url, sha256) for names, url, sha256 in content["files"]]
