"""Final bytes are equal whatever happens: whole runs that are killed, starved of disk, doubled or damaged, then resumed.

A tiny study in copies of the repository is computed once in peace. Then every run of a plan suffers something, is
started again with the same command until it is done, and all its outs are compared with those of the first, byte by
byte. Moments and victims of kills come from a generator keyed by the number of the run; the work that a kill hits
depends on the machine all the same.

Run     python -m benchmarks.chaos                 twenty runs with kills and one of every other kind; about half an hour
        python -m benchmarks.chaos --runs 2 --kinds kill,store
Expect  results/chaos.csv with `equal` = yes in every row that could run here. Exit status 1 if any differs.
Needs   Linux (/proc). A full disk needs the right to mount, the cluster needs Ray; else their rows say so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from benchmarks.harness import report
from interpretability.files import sha256_file
from interpretability.randomness import generator
from tests.helpers.copied_study import Study

VICTIMS = ("dvc", "stage", "worker", "all")
MOST_KILLS = 3
MOST_FAILURES = 3  # of runs that nobody killed, before a study counts as lost
PATIENCE = 3.0  # seconds in which a worker may appear that is to be killed
DEADLINE = 900.0  # seconds for one start of `dvc repro` on the tiny study
SKIPPED = "skipped"


@dataclass
class Outcome:
    """What a run suffered, and what came of it."""

    what: str
    where: list[str] = field(default_factory=list)  # victim and stage of each kill
    resumed: int = 0
    failed: int = 0  # starts that ended in an error although nobody killed them
    equal: str = "no"
    note: str = ""


@dataclass(frozen=True)
class Process:
    """A process of a study: dvc, the stage, one of its workers, or a task of Ray."""

    number: int
    kind: str
    stage: str = ""


@dataclass(frozen=True)
class Strike:
    """A blow in the middle of a run: so many seconds after a stage, or a later one, has begun, and at whom.

    A worker that is not there for some seconds is spared, and its stage is struck.
    """

    stage: int  # place in the order of stages
    offset: float
    victim: str
    blow: Callable[[], None] | None = None  # instead of a kill


def processes(folder: Path) -> list[Process]:
    """Processes that work in the folder of a study."""
    found: dict[int, tuple[list[str], int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if (entry / "cwd").resolve() == folder:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode().split("\0"), parent
    stages = {
        number: words[2].removeprefix("stages.")
        + (f"@{words[words.index('--backend') + 1]}" if "--backend" in words else "")
        for number, (words, _) in found.items()
        if words[1:2] == ["-m"] and words[2].startswith("stages.")
    }
    listed = [Process(number, "stage", stage) for number, stage in stages.items()]
    for number, (words, parent) in found.items():
        if words[1:4] == ["-m", "dvc", "repro"]:
            listed.append(Process(number, "dvc"))
        elif parent in stages and any("spawn_main" in word for word in words):
            listed.append(Process(number, "worker", stages[parent]))
        elif words[0].startswith("ray::task"):
            listed.append(Process(number, "task"))
    return sorted(listed, key=lambda each: each.number)


def start(
    study: Study, workers: int, strike: Strike | None = None, order: Sequence[str] = (), **settings: str
) -> tuple[int, str, str]:
    """Exit status of `dvc repro`, what it printed, and who was struck in which stage (empty: nobody)."""
    struck, began, due = "", time.monotonic(), float("inf")
    with tempfile.TemporaryFile("w+") as output:
        dvc = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=study.folder,
            env={**study.environment(workers), **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while dvc.poll() is None:
                passed = time.monotonic() - began
                if passed > DEADLINE:
                    raise TimeoutError(f"dvc repro in {study.folder} has not ended after {passed:.0f} seconds")
                if strike and not struck:
                    there = processes(study.folder)
                    if due == float("inf") and any(each.stage in order[strike.stage :] for each in there):
                        due = passed + strike.offset
                    if passed >= due:
                        struck = hit(there, dvc, strike, late=passed >= due + PATIENCE)
                time.sleep(0.02)
        except BaseException:
            os.killpg(dvc.pid, signal.SIGKILL)
            raise
        output.seek(0)
        return dvc.returncode, output.read(), struck


def hit(there: list[Process], dvc: subprocess.Popen[bytes], strike: Strike, *, late: bool) -> str:
    """Strike one of the processes now, if there is such a one: who, and in which stage."""
    stage = next((each.stage for each in reversed(there) if each.kind == "stage"), "no stage")
    victim = "stage" if late and strike.victim == "worker" else strike.victim
    chosen = [each for each in there if each.kind == victim]
    if victim == "all":
        os.killpg(dvc.pid, signal.SIGKILL)
    elif not chosen:
        return ""
    elif strike.blow is not None:
        strike.blow()
    else:
        # a process may end at the moment when it is killed
        with contextlib.suppress(ProcessLookupError):
            os.kill(chosen[-1].number, signal.SIGKILL)
    return f"{victim} in {stage}"


def until_done(
    study: Study,
    outcome: Outcome,
    draw: np.random.Generator,
    strikes: Sequence[Strike] = (),
    order: Sequence[str] = (),
    **settings: str,
) -> None:
    """Run a study, struck once a start, and start it again until it is done and all its processes have ended."""
    left = list(strikes)
    while True:
        strike = left.pop(0) if left else None
        code, text, struck = start(study, int(draw.integers(1, 4)), strike, order, **settings)
        outcome.where += [struck] if struck else []
        if code == 0:
            break
        if code != 0 and not struck:
            outcome.failed += 1
            outcome.note = last_line(text)
            if outcome.failed > MOST_FAILURES:
                return
        outcome.resumed += 1
    end = time.monotonic() + DEADLINE
    while processes(study.folder) and time.monotonic() < end:
        time.sleep(0.1)  # a stage whose dvc was killed


def last_line(text: str) -> str:
    """The last line of an output that says something about an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("Error:")] or lines or [""]
    return told[-1]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of dvc.lock and of every file of every out named in it."""
    lock = YAML(typ="safe").load(folder / "dvc.lock")
    outs = sorted(out["path"] for stage in lock["stages"].values() for out in stage.get("outs", []))
    files = [folder / "dvc.lock"]
    for out in outs:
        place = folder / out
        files += sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    return {path.relative_to(folder).as_posix(): sha256_file(path) if path.is_file() else "" for path in files}


def compare(outcome: Outcome, expected: Mapping[str, str], folder: Path) -> None:
    """Whether the outs of a study are those of the peaceful run; the first files that differ are noted."""
    found = digests(folder) if (folder / "dvc.lock").is_file() else {}
    other = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    outcome.equal = "no" if other else "yes"
    if other:
        outcome.note = f"{len(other)} files differ: {' '.join(other[:5])}; {outcome.note}"


@dataclass(frozen=True)
class Peaceful:
    """The run to which all others are compared."""

    expected: Mapping[str, str]
    seconds: float
    store: Path
    stages: Mapping[str, float]  # seconds of each stage, in the order in which they ran

    def strike(self, share: float, victim: str, blow: Callable[[], None] | None = None) -> Strike:
        """A blow after this share of the time of all stages; a fifth of them falls between two stages or early in one."""
        ends = np.cumsum(list(self.stages.values()))
        stage = int(np.searchsorted(ends, share * ends[-1]))
        before = ends[stage - 1] if stage else 0.0
        return Strike(stage, 1.2 * float(share * ends[-1] - before), victim, blow)


Kind = Callable[[Path, int, np.random.Generator, Peaceful], Outcome]


def killed(folder: Path, number: int, draw: np.random.Generator, peace: Peaceful) -> Outcome:
    """SIGKILL of dvc, a stage, a worker or all of them, one to three times."""
    outcome, study = Outcome("killed"), Study(folder / "copy")
    shares = np.sort(draw.uniform(0, 1, int(draw.integers(1, MOST_KILLS + 1))))
    strikes = [
        peace.strike(float(share), VICTIMS[(number + place) % len(VICTIMS)]) for place, share in enumerate(shares)
    ]
    until_done(study, outcome, draw, strikes, list(peace.stages))
    compare(outcome, peace.expected, study.folder)
    return outcome


def damaged(folder: Path, number: int, draw: np.random.Generator, peace: Peaceful) -> Outcome:
    """Store files cut in half, one of each phase, and the sidecar of another one; then all is computed again."""
    outcome, study = Outcome("store files cut in half"), Study(folder / "copy")
    store = study.folder / "data/store"
    shutil.copytree(peace.store, store)
    for phase in sorted(path for path in store.iterdir() if path.is_dir()):
        files = sorted(path for path in phase.rglob("*") if path.is_file() and path.stat().st_size > 1)
        for sidecar in (False, True):
            chosen = [path for path in files if (path.suffix == ".json") == sidecar]
            if chosen:
                victim = chosen[int(draw.integers(len(chosen)))]
                victim.chmod(0o644)
                os.truncate(victim, victim.stat().st_size // 2)
                outcome.where.append(f"{phase.name}/{'sidecar' if sidecar else 'file'}")
    until_done(study, outcome, draw)
    compare(outcome, peace.expected, study.folder)
    return outcome


def starved(folder: Path, number: int, draw: np.random.Generator, peace: Peaceful) -> Outcome:
    """A work store on a disk that is too small, and then grows."""
    outcome, study = Outcome("disk full"), Study(folder / "copy")
    disk, needed = folder / "disk", sum(path.stat().st_size for path in peace.store.rglob("*") if path.is_file())
    disk.mkdir()
    small = int(needed * draw.uniform(0.2, 0.7)) // 1024
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={small}k", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        outcome.equal, outcome.note = SKIPPED, f"no right to mount a small disk: {last_line(mounted.stderr)}"
        return outcome
    try:
        code, text, _ = start(study, 2, MIS_STORE=str(disk))
        full = code != 0 and "no space left on the device" in text
        outcome.where.append(f"store of {small} kB, {'told as a full disk' if full else last_line(text)}")
        subprocess.run(["mount", "-o", f"remount,size={4 * needed // 1024}k", disk], check=True)
        outcome.resumed += 1
        until_done(study, outcome, draw, MIS_STORE=str(disk))
        compare(outcome, peace.expected, study.folder)
        if not full:
            outcome.equal = "no"
    finally:
        subprocess.run(["umount", disk], check=True)
    return outcome


def doubled(folder: Path, number: int, draw: np.random.Generator, peace: Peaceful) -> Outcome:
    """Two copies of the repository that work on one store at the same time."""
    outcome, pair = Outcome("two at once on one store"), [Study(folder / name) for name in ("copy", "other")]
    settings = {"MIS_STORE": str(folder / "store")}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=study.folder,
            env={**study.environment(2), **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for study in pair
    ]
    for each in running:
        outcome.failed += each.wait(DEADLINE) != 0
    parts = [Outcome("") for _ in pair]
    for study, part in zip(pair, parts, strict=True):
        compare(part, peace.expected, study.folder)
    outcome.equal = "yes" if all(part.equal == "yes" for part in parts) else "no"
    outcome.note = "; ".join(part.note for part in parts if part.note)
    return outcome


@contextlib.contextmanager
def cluster() -> Generator[tuple[str, Callable[[], None]]]:
    """Address of a Ray cluster of two machines with one CPU each, and a function that loses one of them."""
    ray: Any = importlib.import_module("ray.cluster_utils")  # an optional package

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    memory = 80 * 2**20
    made = ray.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": memory},
    )
    try:
        nodes = [made.add_node(num_cpus=1, object_store_memory=memory) for _ in range(2)]
        yield made.address, lambda: made.remove_node(nodes[0], allow_graceful=False)
    finally:
        made.shutdown()


def lost(folder: Path, number: int, draw: np.random.Generator, peace: Peaceful) -> Outcome:
    """A Ray cluster of two machines, one of which is lost while jobs run."""
    outcome, study = Outcome("machine of a Ray cluster lost"), Study(folder / "copy")
    if importlib.util.find_spec("ray") is None:
        outcome.equal, outcome.note = SKIPPED, "the package ray is not installed"
        return outcome
    with cluster() as (address, lose):
        strike = peace.strike(float(draw.uniform(0, 0.5)), "task", lose)
        until_done(study, outcome, draw, [strike], list(peace.stages), MIS_EXECUTOR="ray", RAY_ADDRESS=address)
    compare(outcome, peace.expected, study.folder)
    return outcome


KINDS: dict[str, Kind] = {"kill": killed, "store": damaged, "disk": starved, "two": doubled, "ray": lost}


def in_peace(folder: Path) -> Peaceful:
    """The study computed without a disturbance."""
    study, began = Study(folder / "copy"), time.monotonic()
    code, text, _ = start(study, 2)
    if code != 0:
        sys.exit(f"Error: the tiny study fails without any disturbance:\n{text[-2000:]}")
    store = study.folder / "data/store"
    lines = [json.loads(line) for line in (store / "runs.jsonl").read_text().splitlines()]
    stages = {line["stage"]: float(line["wall_s"]) for line in lines}
    return Peaceful(digests(study.folder), time.monotonic() - began, store, stages)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="runs with kills")
    parser.add_argument("--kinds", default=",".join(KINDS), help="what studies suffer, of the default")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    kinds = args.kinds.split(",")
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"--kinds {', '.join(unknown)} is unknown, allowed: {', '.join(KINDS)}")
    os.environ.pop("MIS_EXECUTOR", None)
    plan = [kind for kind in kinds for _ in range(args.runs if kind == "kill" else 1)]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        peace = in_peace(folder / "peace")
        for number, kind in enumerate(plan):
            began = time.monotonic()
            outcome = KINDS[kind](folder / "run", number, generator(args.seed, "chaos", kind, number), peace)
            rows.append(
                {
                    "run": number + 1,
                    "what": outcome.what,
                    "strikes": len(outcome.where),
                    "where": "; ".join(outcome.where),
                    "resumed": outcome.resumed,
                    "failed": outcome.failed,
                    "equal": outcome.equal,
                    "seconds": round(time.monotonic() - began),
                    "note": outcome.note,
                }
            )
            report("chaos", f"Chaos: {number + 1} of {len(plan)} runs, {peace.seconds:.0f} seconds in peace", rows)
            shutil.rmtree(folder / "run")
    if differing := [row["run"] for row in rows if row["equal"] == "no"]:
        sys.exit(f"Error: runs {differing} differ from the one in peace")


if __name__ == "__main__":
    main()
