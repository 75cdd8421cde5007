"""Counts of what the readers made of their inputs, kept where `make fuzz` says."""

import os

import pandas as pd

from study.files.tables import write_csv
from tests.helpers.fuzzing import COUNTS, SEED


def pytest_sessionfinish(session):
    kept = os.environ.get("MIS_FUZZ_KEPT")
    if kept and COUNTS:
        rows = [{"reader": reader, "seed": SEED, **COUNTS[reader]} for reader in sorted(COUNTS)]
        write_csv(kept, pd.DataFrame(rows).round({"slowest_seconds": 1, "grown_mb": 0}))
