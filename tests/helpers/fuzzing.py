"""Readers tried on inputs that no one wrote by hand: each reads, or refuses in the study's own words; none hangs or fills memory.

`make test` tries 300 inputs a reader, always the same; `make fuzz` as many as MIS_FUZZ says, drawn from MIS_FUZZ_SEED, and
keeps the counts.
"""

import contextlib
import os
import resource
import signal
import time
from collections import defaultdict

from hypothesis import HealthCheck, given, seed, settings

from interpretability.errors import InputError

INPUTS, SEED = int(os.environ.get("MIS_FUZZ", "300")), int(os.environ.get("MIS_FUZZ_SEED", "0"))
_SECONDS, _MEGABYTES = 20, 800  # more than any small input may take; far above what reading needs, far below what harms
COUNTS = defaultdict(lambda: {"read": 0, "refused": 0, "slowest_seconds": 0.0, "grown_mb": 0.0})


def fuzzed(*strategies, **named):
    """A test of one reader, called for each of INPUTS inputs drawn from `strategies`."""

    def decorate(test):
        quiet = settings(
            max_examples=INPUTS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        return seed(SEED)(quiet(given(*strategies, **named)(test)))

    return decorate


def attempt(reader, call):
    """What `call` returns, or None where it refuses its input (InputError, of which StudyError is one); other errors pass.

    reader  name under which the outcome is counted
    """
    before, began = _peak_mb(), time.monotonic()
    outcome, result = "refused", None
    with _alarm(_SECONDS), contextlib.suppress(InputError):
        result = call()
        outcome = "read"
    count = COUNTS[reader]
    grown = _peak_mb() - before
    count[outcome] += 1
    count["slowest_seconds"] = max(count["slowest_seconds"], time.monotonic() - began)
    count["grown_mb"] = max(count["grown_mb"], grown)
    assert grown < _MEGABYTES, f"{reader}: one input took {grown:.0f} MB"
    return result


def _peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def _alarm(seconds):
    def stop(number, frame):
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
