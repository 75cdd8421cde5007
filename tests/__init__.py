"""Tests of the library, the study, its stages and its tools."""

from study.environment import one_thread, portable

one_thread()
portable()
