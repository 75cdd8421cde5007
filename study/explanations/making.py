"""Texts made from concepts."""

from __future__ import annotations

import pandas as pd

from study.explanations.inputs import Inputs, Units
from study.explanations.judging import Judges
from study.explanations.texts import TEXT_COLUMNS

OF_GUIDE = "le_guide"


def made_texts(inputs: Inputs, units: Units, judged: Judges) -> pd.DataFrame:
    return pd.DataFrame(columns=TEXT_COLUMNS)
