"""Chromium without a window, where tests import it from."""

from experiment.rehearsal.chromium import Browser, Chromium, Profile, Response, Tab, executable

__all__ = ["Browser", "Chromium", "Profile", "Response", "Tab", "executable"]
