"""Parameters of the comparison of kinds of explanation."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class ExplanationKinds:
    """Units that are explained in several ways.

    units     as model/layer/unit, `*` stands for any text; empty: those that images were made for
    fewer     images a side with which natural tasks are solved again; numbers not below tasks.n_explanations are left out, with
              a warning
    n_topics  most topics that the images of a side are grouped into; 1: none
    """

    units: tuple[str, ...]
    fewer: tuple[int, ...] = number(1)
    n_topics: int = number(1)
