"""How far a run is whose people answer whole pages: what pages of ratings and of picks show alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiment.recorded import Recorded


def pages_so_far(recorded: Recorded) -> dict[str, Any]:
    """Pages answered and wanted, from the least to the most often answered, sessions to come, and the median time of a page in
    seconds, None where none was sent."""
    folder, pages = recorded.folder, recorded.pages
    wanted = int(folder.study["raters"])
    done = pages.groupby("page").size().reindex(sorted(folder.pages), fill_value=0)
    missing = int((wanted - done).clip(lower=0).sum())
    return {
        "pages": {
            "all": len(folder.pages),
            "raters": wanted,
            "answered": len(pages),
            "wanted": wanted * len(folder.pages),
            "min": int(done.min()),
            "max": int(done.max()),
            "counts": [{"page": int(page), "raters": int(count)} for page, count in done.items()],  # pyright: ignore[reportArgumentType]
        },
        "sessions_to_come": math.ceil(missing / recorded.settings.pages_a_session),
        "seconds_page": float(pages["seconds"].median()) if len(pages) else None,
    }
