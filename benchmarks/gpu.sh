#!/usr/bin/env bash
# All that only a GPU can show, in under six minutes, with a verdict a line: see benchmarks/gpu.py.
#
#     benchmarks/gpu.sh                            # on cuda:0
#     benchmarks/gpu.sh --device cpu --quick       # the dry run, anywhere
#
# Takes the environment of the repository, else a python3 that has torch (PYTHON names another one), else builds the pinned
# environment, which takes minutes and a connection. Where OUT names a folder, the table is laid there too, after each module,
# so that a run that is stopped from outside leaves what it had measured.
set -uo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1 PYTHONHASHSEED=0
export MIS_STORE="${MIS_STORE:-$(mktemp -d)}"

has() { command -v "$1" >/dev/null && "$1" -c 'import importlib.util as i; raise SystemExit(i.find_spec("torch") is None)' 2>/dev/null; }

if has .venv/bin/python; then
    python=.venv/bin/python
elif has "${PYTHON:-python3}"; then
    python="${PYTHON:-python3}"
    echo "no environment of the repository here; using $(command -v "$python")"
else
    echo "no Python with torch here; building the environment of requirements.lock"
    make .venv/.ready || { echo "It could not be built. Give a Python that has torch: PYTHON=/path/to/python3 benchmarks/gpu.sh" >&2; exit 2; }
    python=.venv/bin/python
    SECONDS=0 # the minutes of building are no part of the six
fi
"$python" - <<'SAY'
import importlib.metadata as there
import re
from pathlib import Path

pinned: dict[str, list[str]] = {}  # several where Pythons differ
for name, version in re.findall(r"^([a-z0-9_.-]+)==([^ ;]+)", Path("requirements.lock").read_text(), re.M):
    pinned.setdefault(name, []).append(version)
needed = ("torch", "torchvision", "timm", "numpy", "pandas", "pyarrow", "scipy", "numba", "safetensors", "pillow", "dreamsim", "lpips", "piq")
for name in needed:
    try:
        found = there.version(name)
    except there.PackageNotFoundError:
        print(f"missing: {name} {' or '.join(pinned[name])}; checks that need it will fail")
    else:
        if found.split("+")[0] not in pinned[name]:
            print(f"{name} is {found}, the lock has {' or '.join(pinned[name])}")
SAY
# networks that are built here have no weights to fetch
HF_HUB_OFFLINE=1 exec "$python" -m benchmarks.gpu --spent "$SECONDS" ${OUT:+--copy "$OUT"} "$@"
