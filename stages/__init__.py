"""The study, stage by stage: one entry point a stage."""

from study.environment import one_thread
from study.processor import choose

one_thread()
choose()
