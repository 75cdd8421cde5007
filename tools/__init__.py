"""Commands that people run beside the stages."""

from study.environment import one_thread, portable

one_thread()
portable()
