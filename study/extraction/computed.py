"""Facts of roster rows that no network is run for: controls, and tables of activations."""

from __future__ import annotations

from study.extraction.activation_table import table_facts
from study.extraction.controls import control_facts
from study.extraction.job import Extraction, NetworkFacts
from study.networks.roster import is_table


def computed_facts(extraction: Extraction) -> NetworkFacts:
    """Facts of one control or table, whose extremes are written to the out."""
    return (table_facts if is_table(extraction.row) else control_facts)(extraction)
