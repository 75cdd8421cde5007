"""The report page: the study's tables, figures and units become one self-contained HTML file.

Everything that comes from data passes through Jinja's autoescape, or lies as JSON in a block that is no code. Figures and
pictures are data URIs, so that no request leaves the page, and its content policy forbids any.
"""

from __future__ import annotations

from stages.pipeline.page.inputs import load_study

__all__ = ["load_study"]
