"""Asking people in the browser: a server, its pages, and participants made up to rehearse with.

Questions come as a folder that `python -m tools.psychophysics export` or `python -m tools.rating_pages` wrote; answers go out
as the tables that the study reads. docs/experiment.md says how to run it.
"""

from study.environment import one_thread, portable

one_thread()
portable()
