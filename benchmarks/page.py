"""The report of a study with a million scored units: time and memory of its build, size, and time to open.

    python -m benchmarks.page [--units 1000000] [--networks 20]

The study is fabricated: made-up scores in the files that the stage `report` reads (about 0.5 GB in a temporary folder,
removed afterwards). Its tasks show noise of 16 pixels, so decoding photographs is not part of the time. A process of its own
builds the report; Chromium, where there is one, opens it without a window. Then, with report.n_units units listed: first paint,
load and elements at the start; the longest of some filters and of some orders, from the press to the finished layout; and the
middle, the 95th percentile and the longest of the frames of a quick scroll through all cards, script, style and layout together,
as the browser counts them: by the clock, so that a longest frame beside other jobs is theirs, too.

Expected on 2 shared cores: 52 s of processor time, most of it for the figures of 20 networks, at most 0.8 GiB, and a page of
6 MB that paints in 0.4 s and has loaded in 0.8 s; filters and orders of 20,000 units below 0.1 s, frames of 7 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.harness import memory, timed
from benchmarks.harness import report as keep
from stages import report
from tests.helpers.browser import Browser, executable
from tests.helpers.report_fixture import BACKENDS, command_of, fabricate

LAYERS = 50
TYPES = ("Conv", "BatchNorm", "Linear", "LayerNorm")
SEARCHES = ("blocks.7", "norm 12", "scene 3", "nothing is called so", "")
ORDERS = ("Hardest", "Easiest", "Missed by MIS", "Telling")
FRAMES, STEP = 120, 700  # frames of the scroll, pixels of each
# in the page: an action, and the time until what it changes is laid out
ACTIONS = """
const laid = () => document.body.offsetHeight;
const type = (words) => {
  const box = document.querySelector('.find input');
  box.value = words;
  box.dispatchEvent(new Event('input'));
};
const press = (words) =>
  [...document.querySelectorAll('#units button')].find((each) => each.textContent.startsWith(words)).click();
const timed = (act) => { const start = performance.now(); act(); laid(); return performance.now() - start; };
"""
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
        fabricate(
            folder,
            networks=[f"network-{i:03d}" for i in range(args.networks)],
            layers=[(f"blocks.{i}", TYPES[i % len(TYPES)]) for i in range(LAYERS)],
            units_a_layer=a_layer,
            title=TITLE,
        )
        words = [sys.executable, "-m", "benchmarks.page", "--measure", *command_of(folder)]
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
    """What a browser takes for the page; it has started before."""
    if executable() is None:
        return {}
    with Browser() as browser:
        browser.open(page, width=1440, height=900)
        browser.settle()
        row = {
            "first_paint_s": browser.run("performance.getEntriesByName('first-paint')[0].startTime") / 1e3,
            "load_s": browser.run("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1e3,
            "n_elements": browser.run("document.querySelectorAll('*').length"),
            "n_listed": browser.run("JSON.parse(document.getElementById('unit-data').textContent).unit.length"),
        }
        row["search_ms"] = max(_milliseconds(browser, f"type({words!r})") for words in SEARCHES)
        row["sort_ms"] = max(_milliseconds(browser, f"press({words!r})") for words in ORDERS)
        frames = _frames(browser)
        row |= {"frame_median_ms": statistics.median(frames), "frame_p95_ms": statistics.quantiles(frames, n=20)[-1]}
        row |= {"frame_max_ms": max(frames), "n_frames": len(frames)}
        if browser.problems:
            raise RuntimeError(f"the page reports {browser.problems}")
    return row


def _milliseconds(browser: Browser, action: str) -> float:
    """From an action of a reader until the list is laid out anew."""
    return browser.run(f"(async () => {{ {ACTIONS} return timed(() => {action}); }})()")


def _frames(browser: Browser) -> list[float]:
    """Milliseconds of script, style and layout in each frame while all cards are scrolled through, most of a screen a frame."""
    browser.run(f"(async () => {{ {ACTIONS} type(''); press('Telling'); press('Show all'); }})()")
    browser.send("Performance.enable")
    at = browser.run("scrollY")
    frames, before = [], _busy(browser)
    for _ in range(FRAMES):
        browser.run(
            f"new Promise(done => {{ scrollBy({{top: {STEP}, behavior: 'instant'}});"
            "requestAnimationFrame(() => requestAnimationFrame(() => done(document.body.offsetHeight))); })"
        )
        now = _busy(browser)
        frames.append(1e3 * (now - before))
        before = now
    if browser.run("scrollY") < at + STEP * FRAMES / 2:
        raise RuntimeError("the list is too short to be scrolled through")
    return frames


def _busy(browser: Browser) -> float:
    """Seconds that script, style and layout have taken since the page was opened."""
    metrics = {entry["name"]: entry["value"] for entry in browser.send("Performance.getMetrics")["metrics"]}
    return sum(metrics[name] for name in ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration"))


if __name__ == "__main__":
    main()
