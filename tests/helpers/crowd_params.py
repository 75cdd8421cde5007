"""Parameters of ratings for tests: those of the embedded study, with other values."""

import dataclasses

from study.params.crowd import Crowd
from study.params.reading import build, content_of
from tests.helpers.rules import ROOT


def crowd_params(**changes):
    """The group `crowd` of studies/synthetic.yaml; names of parts have __ for a dot."""
    crowd = build(Crowd, content_of(ROOT / "studies/synthetic.yaml")["crowd"])
    for name, value in changes.items():
        part, _, key = name.partition("__")
        crowd = dataclasses.replace(
            crowd, **{part: dataclasses.replace(getattr(crowd, part), **{key: value}) if key else value}
        )
    return crowd
