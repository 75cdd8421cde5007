"""Files that a roster and a similarity name, by the digest of what is in them."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from interpretability.files import sha256_file
from interpretability.weights import WeightsFile
from study.environment import COMPUTING, Environment
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import write_json
from study.inputs.digests import Digests
from study.log import logger
from study.networks import building
from study.networks.roster import NO_FILE, RosterRow

log = logger("inputs")

MISSING = "missing"
_BACKENDS = Path(__file__).resolve().parents[2] / "interpretability" / "similarity" / "backends"


def network_files(rows: Iterable[RosterRow], digests: Digests) -> dict[str, str]:
    """Digest of every file that a roster names for weights or directions, by what the roster calls it.

    One that is not there is `MISSING`, and said: the stage `models` then counts the network among those that failed.
    """
    named: dict[str, Callable[[], Path]] = {}
    for row in rows:
        if row["weights"] not in NO_FILE:
            named[row["weights"]] = lambda row=row: building.weights_file(row, Path())
        if row["directions"]:
            named[row["directions"]] = lambda row=row: building.parse_directions(row["directions"])[1]
    return {name: _digest(name, find, digests) for name, find in sorted(named.items())}


def _digest(name: str, find: Callable[[], Path], digests: Digests) -> str:
    try:
        return digests.of(find())
    except StudyError as error:
        log.warning("%s", error)
        return MISSING


def similarity_files(name: str, digests: Digests) -> dict[str, str]:
    """Digest of every file of weights of a similarity, by its own name.

    One that will be fetched has the beginning of the digest that its hub publishes, or its address where none is known; so has
    the file itself where it is that one.
    """
    folder, found = Environment.read().weights, {}
    for file in _weights_files(name):
        path, published = file.path_in(folder), file.sha256 or file.url
        digest = published if path is None else digests.of(path)
        found[file.names[0]] = published if file.sha256 and digest.startswith(file.sha256) else digest
    return found


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

        files = registry.family_of(name, "scores.backends").weights_files(name)
        write_json(path, {"files": [[list(file.names), file.url, file.sha256] for file in files]})

    content = json.loads(store.fetch("weights_files", key, ".json", ask).read_text(encoding="utf-8"))
    return [WeightsFile(tuple(names), url, sha256) for names, url, sha256 in content["files"]]
