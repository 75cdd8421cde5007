"""Counts of what the readers made of their inputs, kept where `make fuzz` says, from one process or several."""

import os

import pandas as pd
import pytest

from study.files.tables import write_csv
from tests.helpers.fuzzing import COUNTS, SEED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for reader, counts in getattr(node, "workeroutput", {}).get("fuzz", {}).items():
        for name, value in counts.items():
            known = COUNTS[reader][name]
            COUNTS[reader][name] = known + value if name in ("read", "refused") else max(known, value)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = dict(COUNTS)
        return
    kept = os.environ.get("MIS_FUZZ_KEPT")
    if kept and COUNTS:
        rows = [{"reader": reader, "seed": SEED, **COUNTS[reader]} for reader in sorted(COUNTS)]
        write_csv(kept, pd.DataFrame(rows).round({"slowest_seconds": 1, "grown_mb": 0}))
