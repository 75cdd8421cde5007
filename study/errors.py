"""Errors that people read: shown as one message, without a traceback, in the words of params.yaml."""

from __future__ import annotations

from interpretability.errors import InputError

# Where a study gets the arguments of the library from: what people who run a study read in place of an argument's name.
KEYS = {
    "aggregation": "scores.aggregation",
    "allow_few": "calibration.allow_few",
    "condition": "tasks.conditions",
    "drop_first_last": "units.drop_first_last",
    "fraction": "calibration.fraction",
    "layer": "scores.encoder.layer",
    "layer_types": "units.layer_types",
    "linear": "units.linear",
    "min_units": "calibration.min_units",
    "n_explanations": "tasks.n_explanations",
    "n_tasks": "tasks.n_tasks",
    "n_trials": "human.simulated.n_trials",
    "n_units": "human.simulated.n_units",
    "name": "scores.backends",
    "norm_act": "units.norm_act",
    "objective": "calibration.objective",
    "precision": "activations.precision",
    "size": "scores.feature_size",
    "softmax_temperature": "scores.softmax_temperature",
    "view": "scores.dreamsim.view",
    "weights": "The variable MIS_WEIGHTS",
}


class StudyError(InputError):
    """Something the user can put right. The message names the file, key or row, the value and what is allowed."""


class ChangedInput(StudyError):
    """Images are not those of the manifest: no property of one network, so the whole stage stops."""


def message_of(error: Exception) -> str:
    """An error as people who run a study read it: an argument of the library by the key of params.yaml that sets it."""
    return error.naming(KEYS) if isinstance(error, InputError) else str(error)
