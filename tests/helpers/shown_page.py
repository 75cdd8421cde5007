"""The page of a fabricated study, and a tab of a browser for the tests of a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages import report
from study.report.figures import base
from tests.helpers.browser import Browser
from tests.helpers.report_fixture import build

EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"></svg>'
EVIL = "\"><img src=x onerror=window.hit=1></script><script>window.hit=2</script><a href='javascript:window.hit=3'>'"


@contextmanager
def drawing_only(names: Collection[str] = ()) -> Generator[None]:
    """No figure but these is drawn meanwhile, as each takes half a second."""
    drawn = base.render

    def render(spec, *rest, **how):
        return drawn(spec, *rest, **how) if spec.name in names else EMPTY

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "render", render)
        patch.setattr(base, "render_files", lambda *_, **__: (EMPTY, b"%PDF"))
        yield


def page_of(
    folder: Path, change: Callable[[Path], object] | None = None, drawn: Collection[str] = (), **options
) -> Path:
    """The page of a fabricated study in a folder; `change` alters its files before, `options` are those of `fabricate`."""
    command = build(folder, **options)
    if change:
        change(folder)
    with drawing_only(drawn):
        report.main(command)
    return folder / "report.html"


@pytest.fixture(scope="module")
def tab():
    with Browser() as tab:
        yield tab


@pytest.fixture
def browser(tab):
    """The tab; whatever a test did, the browser reported no problem and asked for nothing but pages of studies."""
    tab.media()
    tab.problems.clear()
    tab.requests.clear()
    yield tab
    tab.media()
    assert tab.problems == []
    asked = {address.split("#")[0] for address in tab.requests if not address.startswith(("data:", "blob:"))}
    assert asked - {"about:blank"}, "no page was opened"
    assert all(address.endswith("/report.html") for address in asked - {"about:blank"})
