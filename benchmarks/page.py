"""The report of a study with a million scored units: time and memory of its build, size, and time to open.

    python -m benchmarks.page [--units 1000000] [--networks 20]

The study is fabricated: made-up scores in the files that the stage `report` reads (about 0.5 GB in a temporary folder,
removed afterwards). Its tasks show noise of 16 pixels, so decoding photographs is not part of the time. A process of its own
builds the report; Chromium, where there is one, opens it without a window, and the time until it has listed the units
counts.

Expected on 2 shared cores: 39 s of processor time (44 s passed beside other jobs), most of it for 42 figures of 20 networks in
three forms each, at most 0.6 GiB, and a page of 12 MB that opens in 1.5 s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.harness import memory, timed
from benchmarks.harness import report as keep
from stages import report
from tests.helpers.browser import Browser, executable
from tests.helpers.report_fixture import BACKENDS, build

LAYERS = 50
TYPES = ("Conv", "BatchNorm", "Linear", "LayerNorm")
TITLE = "Fabricated study of many units: no number in it means anything"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1_000_000, help="rows of data/mis/units.parquet")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        seconds, cpu_seconds = timed(lambda: report.main(args.measure))
        print(json.dumps({"build_s": seconds, "build_cpu_s": cpu_seconds, "peak_gib": memory("VmHWM") / 2**30}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        a_layer = args.units // args.networks // LAYERS // len(BACKENDS)
        command = build(
            folder,
            networks=[f"network-{i:03d}" for i in range(args.networks)],
            layers=[(f"blocks.{i}", TYPES[i % len(TYPES)]) for i in range(LAYERS)],
            units_a_layer=a_layer,
            title=TITLE,
        )
        words = [sys.executable, "-m", "benchmarks.page", "--measure", *command]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        row = {
            "n_rows": len(pd.read_parquet(folder / "mis/units.parquet", columns=["unit"])),
            "n_networks": args.networks,
        }
        row |= json.loads(done.stdout.splitlines()[-1])
        page = folder / "report.html"
        row |= {"page_mb": page.stat().st_size / 1e6, **_opened(page)}
    keep("page", "Report of a fabricated study", [row])


def _opened(page: Path) -> dict[str, float]:
    """Seconds until the load event, and until the units are listed; the browser itself has started before."""
    if executable() is None:
        return {}
    with Browser() as browser:
        loaded = browser.open(page)
        listed, _ = timed(lambda: browser.run("document.querySelector('#browser li a, #browser tbody a').href"))
        filtered, _ = timed(lambda: _search(browser))
        if browser.problems:
            raise RuntimeError(f"the page reports {browser.problems}")
    return {"load_s": loaded, "listed_s": loaded + listed, "search_s": filtered}


def _search(browser: Browser) -> None:
    browser.run("location.hash = '#units?view=table&q=blocks.7&sort=mis'")
    browser.settle()


if __name__ == "__main__":
    main()
