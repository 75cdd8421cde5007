"""Measurements of the two compiled kernels against straightforward forms, side by side on one machine."""

from study.environment import one_thread, portable

one_thread()
portable()
