"""Versions of the study in git: commits, DVC's experiments and the workspace, and the files each of them holds.

DVC keeps an experiment NAME as the reference refs/exps/AB/CDEF.../NAME, where ABCDEF... is the commit it started from.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import StudyError

WORKSPACE = "workspace"
_EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")
_MOST_NAMED = 20  # experiments that a message names


@dataclass(frozen=True)
class Version:
    """One version; `commit` is empty for the workspace."""

    name: str
    kind: str  # experiment, commit or workspace
    commit: str
    root: Path

    def read(self, path: str) -> str | None:
        """Text of a file of this version, by its path in the repository; None where it has none."""
        if not self.commit:
            file = self.root / path
            return file.read_text(encoding="utf-8") if file.is_file() else None
        blob = _git(self.root, "cat-file", "blob", f"{self.commit}:./{path}")
        return blob.stdout.decode() if blob.returncode == 0 else None

    def data(self, digest: str, name: str) -> Path | None:
        """A file of an out that is a folder with this digest, from DVC's cache; None where it is not at hand.

        The workspace is no exception: its folder may be newer than the results that stand beside it.
        """
        if not (digest and (self.root / ".dvc").is_dir()):
            return None
        cache = _cache(self.root)
        listing = Path(cache.oid_to_path(digest))
        if not listing.is_file():
            return None
        digests = {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8"))}
        file = Path(cache.oid_to_path(digests[name])) if name in digests else Path()
        return file if file.is_file() else None


@dataclass(frozen=True)
class Experiment:
    name: str
    baseline: str
    commit: str


@functools.cache
def _cache(root: Path) -> Any:
    """DVC's local cache, wherever its settings put it."""
    from dvc.repo import Repo

    return Repo(str(root)).cache.local


def experiments(root: Path) -> list[Experiment]:
    """Finished experiments of this repository, by name, then by the commit they started from."""
    listed = _asked(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    finished = []
    for line in listed.splitlines():
        commit, _, reference = line.partition(" ")
        match = _EXPERIMENT.fullmatch(reference)
        if match:  # the other references are DVC's own notes of what runs
            finished.append(Experiment(match[3], match[1] + match[2], commit))
    return sorted(finished, key=lambda experiment: (experiment.name, experiment.baseline))


def resolve(names: Sequence[str], root: Path) -> list[Version]:
    """The versions named, in this order and each once. One name alone is set against HEAD; none means HEAD and all
    experiments that started from it. Raises StudyError for a name that is nothing, with the names there are."""
    if _git(root, "rev-parse", "--git-dir").returncode != 0:
        raise StudyError(f"{root.resolve()} is in no git repository; versions are read from git. Run this in a clone")
    known = experiments(root)
    head = _commit(root, "HEAD")
    if not head:
        raise StudyError("this repository has no commit yet; commit the study first")
    wanted = list(dict.fromkeys(names))
    if not wanted:
        wanted = ["HEAD", *(experiment.name for experiment in known if experiment.baseline == head)]
    if len(wanted) == 1 and wanted[0] != "HEAD":
        wanted = ["HEAD", *wanted]
    if len(wanted) < 2:
        raise StudyError(f"there is nothing to compare HEAD with: name versions. {_there_are(known, head)}")
    return [_resolve(name, root, known, head) for name in wanted]


def _resolve(name: str, root: Path, known: Sequence[Experiment], head: str) -> Version:
    if name == WORKSPACE:
        return Version(name, WORKSPACE, "", root)
    named = [experiment for experiment in known if experiment.name == name]
    here = [experiment for experiment in named if experiment.baseline == head]
    if len(here or named) > 1:
        commits = ", ".join(experiment.commit[:10] for experiment in named)
        raise StudyError(
            f"there are {len(named)} experiments {name!r}, of different commits; name one by its commit: {commits}"
        )
    if named:
        return Version(name, "experiment", (here or named)[0].commit, root)
    commit = _commit(root, name)
    if not commit:
        raise StudyError(f"{name!r} is no experiment, no git revision and not {WORKSPACE!r}. {_there_are(known, head)}")
    return Version(name, "commit", commit, root)


def _there_are(known: Sequence[Experiment], head: str) -> str:
    """The experiments of a message, those of HEAD first."""
    if not known:
        return "There are no experiments; `dvc exp run -n NAME -S KEY=VALUE` makes one"
    ordered = sorted(known, key=lambda experiment: experiment.baseline != head)
    names = list(dict.fromkeys(experiment.name for experiment in ordered))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"Experiments: {', '.join(names[:_MOST_NAMED])}{more}"


def _commit(root: Path, name: str) -> str:
    """Full hash of a revision, empty if there is none of that name."""
    parsed = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return parsed.stdout.decode().strip() if parsed.returncode == 0 else ""


def _asked(root: Path, *arguments: str) -> str:
    answer = _git(root, *arguments)
    if answer.returncode:
        raise StudyError(f"git {arguments[0]} failed: {answer.stderr.decode(errors='replace').strip()}")
    return answer.stdout.decode()


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True)
    except FileNotFoundError:
        raise StudyError("the program git is not installed or not on the PATH") from None
