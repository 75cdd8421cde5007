"""The study's bytes whatever processor and variables: whole runs under other settings, and under emulated processors.

Each setting is a copy of the repository with a store of its own in which `dvc repro` computes everything; then every file of
every out is compared with that of the first setting. An emulated run puts every stage on a processor that qemu plays, in one
process; numpy's AVX2 sorts, in which qemu has faults, are left out there, and in the native run that it is compared with.

Run     python -m benchmarks.processors                              the whole study under all native settings
        python -m benchmarks.processors --study tiny --emulated      a tiny study, native settings and emulated processors
        python -m benchmarks.processors --settings hostile --folder F --until mis
        A folder that is named keeps what is done: the same command goes on there, also with more settings.
Expect  results/processors.csv with n_differ = 0 in every row. Exit status 1 if any file differs.
Needs   an x86-64 processor with AVX2 and FMA; qemu-x86_64 for --emulated. The whole study takes a few minutes a setting on two
        idle cores, as `make repro`; the tiny one about a minute, emulated a quarter of an hour a processor; the whole one
        emulated hours.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from benchmarks.harness import RESULTS, report
from interpretability.files import sha256_file
from study.environment import SWITCHES
from tests.helpers.copied_study import Study
from tests.helpers.rules import ROOT

REFERENCE, TWIN = "as it is", "as it is, no AVX2 sorts"
NO_AVX512 = [
    "AVX512F",
    "AVX512CD",
    "AVX512_SKX",
    "AVX512_CLX",
    "AVX512_CNL",
    "AVX512_ICL",
    "AVX512_SPR",
    "AVX512VL",
    "AVX512BW",
    "AVX512DQ",
    "X86_V4",
]
NATIVE: dict[str, dict[str, str]] = {
    REFERENCE: {},
    "caller without AVX-512": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(NO_AVX512),
    },
    "OPENBLAS_CORETYPE=SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "OPENBLAS_CORETYPE=Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "numpy without AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
    "each switch otherwise": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "DNNL_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_CBWR": "AUTO",
        "OPENBLAS_CORETYPE": "Sandybridge",
        "NPY_ENABLE_CPU_FEATURES": "X86_V4",
        "NPY_DISABLE_CPU_FEATURES": "",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "+sse2",
    },
    "one worker": {"MIS_WORKERS": "1"},
}
PROCESSORS = ("Haswell", "Skylake-Client", "EPYC")  # of qemu: two of Intel, one of AMD
# a stage as DVC starts it, `python -m stages.NAME ...`, but for numpy's sorts
WRAPPED = (
    "import os, runpy, sys; from study.environment import one_thread, portable; one_thread(); portable(); "
    "os.environ['NPY_DISABLE_CPU_FEATURES'] += ' X86_V3'; _, _, name, *rest = sys.argv; sys.argv = [name, *rest]; "
    "runpy.run_module(name, run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True)
class Setting:
    """How a run differs: variables of the caller; whether stages are wrapped; the processor that is played, if any."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    wrapped: bool = False
    processor: str = ""

    @property
    def reference(self) -> str:
        return TWIN if self.wrapped else REFERENCE


def all_settings(emulated: bool) -> list[Setting]:
    native = [Setting(name, variables) for name, variables in NATIVE.items()]
    played = [Setting(f"qemu {name}", wrapped=True, processor=name) for name in PROCESSORS]
    return [*native, Setting(TWIN, wrapped=True), *played] if emulated else native


def copied(folder: Path, whole: bool) -> Study:
    """The repository's files in a folder of their own, there already where a run goes on."""
    if (folder / ".git").is_dir():
        study = Study.__new__(Study)
        study.folder = folder
        return study
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    study = Study(folder)
    if whole:
        for name in ("params.yaml", "data/external/models/synthetic.csv"):
            shutil.copyfile(ROOT / name, folder / name)
    return study


def compute(folder: Path, setting: Setting, *, whole: bool, until: str, cache: Path) -> float:
    """Run the stages of a copy under a setting; returns the seconds that it took."""
    study = copied(folder, whole)
    variables = {name: value for name, value in study.environment(workers=2).items() if name not in SWITCHES}
    variables |= setting.variables
    if setting.wrapped:
        shim = folder.parent / f"{folder.name}.bin"
        shim.mkdir(exist_ok=True)
        player = f"{shutil.which('qemu-x86_64')} -cpu {setting.processor} " if setting.processor else ""
        (shim / "python").write_text(f'#!/bin/sh\nexec {player}{sys.executable} -c "{WRAPPED}" "$@"\n')
        (shim / "python").chmod(0o755)
        path = f"{shim}{os.pathsep}{variables['PATH']}"
        # workers of their own would leave the processor that is played; compiling there would take minutes
        variables |= {"PATH": path, "MIS_WORKERS": "1", "NUMBA_CACHE_DIR": str(cache)}
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *([until] if until else [])], cwd=folder, env=variables, check=True
    )
    return time.monotonic() - began


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of every out, by its path."""
    lock = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"]
    outs = [folder / out["path"] for stage in lock.values() for out in stage["outs"]]
    files = [path for out in outs for path in ([out] if out.is_file() else sorted(out.rglob("*"))) if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def compared(
    setting: Setting, found: dict[str, str], known: dict[str, str], seconds: float, study: str
) -> dict[str, object]:
    differing = sorted(name for name in found.keys() | known.keys() if found.get(name) != known.get(name))
    groups = sorted({"/".join(name.split("/")[:2]) for name in differing})
    return {
        "study": study,
        "setting": setting.name,
        "compared_with": setting.reference,
        "n_files": len(known),
        "n_differ": len(differing),
        "outs_that_differ": " ".join(groups),
        "seconds": round(seconds),
    }


def run(args: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    known: dict[str, dict[str, str]] = {}
    rows = []
    wanted = [one for one in all_settings(args.emulated) if not args.settings or one.name in args.settings.split(",")]
    needed = {one.reference for one in wanted}
    for number, setting in enumerate(all_settings(args.emulated)):
        if setting not in wanted and setting.name not in needed:
            continue
        done = folder / f"{number}.json"
        if not done.exists():
            print(f"{setting.name}: {folder / str(number)}", flush=True)
            whole = args.study == "whole"
            seconds = compute(folder / str(number), setting, whole=whole, until=args.until, cache=folder / "numba")
            done.write_text(json.dumps([seconds, digests(folder / str(number))]))
        seconds, found = json.loads(done.read_text())
        known[setting.name] = found
        if setting.name != setting.reference:
            rows.append(compared(setting, found, known[setting.reference], seconds, args.study))
            print(rows[-1], flush=True)
    return rows


def joined(rows: list[dict[str, object]]) -> pd.DataFrame:
    """These rows in place of earlier ones of the same study and setting, beside all others that were kept."""
    kept, new = RESULTS / "processors.csv", pd.DataFrame(rows)
    if not kept.is_file():
        return new
    both = pd.concat([pd.read_csv(kept, keep_default_na=False), new], ignore_index=True)
    return both.drop_duplicates(["study", "setting"], keep="last", ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--study", choices=("whole", "tiny"), default="whole", help="that of params.yaml, or a tiny one"
    )
    parser.add_argument("--emulated", action="store_true", help="on processors that qemu plays too")
    parser.add_argument("--settings", default="", help="names of some settings, with commas between; all without it")
    parser.add_argument("--until", default="", help="last stage; all without it")
    parser.add_argument("--folder", type=Path, help="keeps copies and what is done, so that a run goes on")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = run(args, args.folder or Path(temporary))
    report("processors", f"{args.study} study, and what was run before", joined(rows))
    sys.exit(any(row["n_differ"] for row in rows))


if __name__ == "__main__":
    main()
