"""The researcher's text of consent: Markdown in, HTML without anything active out."""

from __future__ import annotations

import re
from pathlib import Path

from study.errors import StudyError

_ALLOWED = re.compile(r"(https?://|mailto:)[^\s]+", re.IGNORECASE)
_MOST_BYTES = 1 << 16
_TEMPLATE = "experiment/defaults/consent.md"


def read_consent(path: Path) -> str:
    """HTML of the file. Raises StudyError where it is missing, empty, too long or no UTF-8."""
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. Write what people agree to, in Markdown; {_TEMPLATE} is how it may begin"
        )
    data = path.read_bytes()
    if len(data) > _MOST_BYTES:
        raise StudyError(f"{path} has {len(data)} bytes; at most {_MOST_BYTES} can be shown")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not UTF-8 at byte {error.start}. Save it as UTF-8") from None
    if not text.strip():
        raise StudyError(f"{path} is empty; people must know what they agree to")
    return html_of(text)


def html_of(text: str) -> str:
    """CommonMark as HTML: HTML in the text is shown as text, there are no pictures, and links go to http, https and mailto."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).disable("image")
    renderer.validateLink = lambda url: bool(_ALLOWED.fullmatch(url))
    return renderer.render(text)
