"""The study, stage by stage: one entry point a stage."""

from study.environment import one_thread

one_thread()
