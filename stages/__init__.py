"""The study, stage by stage: one entry point a stage."""

from study.environment import one_thread
from study.process import choose_kernels, collect_rarely

one_thread()
choose_kernels()
collect_rarely()
