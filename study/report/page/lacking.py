"""What a study lacks, in a few words each with the reason: the one line at the end of the questions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# what a study without the figure lacks, in the words of a list
WHAT = {
    "models_ranked": "a ranking of networks",
    "models_by_p5": "a ranking of networks",
    "unit_distribution": "scored units",
    "mis_against_accuracy": "accuracy of networks",
    "mis_against_resolution": "input sizes",
    "likeness_to_people": "published likeness to people",
    "constant_share": "constant units",
    "layer_types": "scored units",
    "layer_type_tests": "tests between layer types",
    "depth": "networks drawn one by one",
    "relative_depth": "layers in bins",
    "relative_width": "layers in bins",
    "units_or_directions": "other directions than units",
    "superposed": "a layer in superposition",
    "models_mis_his": "human answers",
    "models_mis_his_synthetic": "answers to synthetic explanations",
    "mis_against_his": "human answers",
    "his_by_mis": "bins of annotated units",
    "similarities_units": "human answers",
    "his_by_mis_similarities": "bins of annotated units under several similarities",
    "extreme_groups": "groups of annotated units",
    "map_contrast": "feature maps",
    "map_pixel_sparseness": "feature maps",
    "map_channel_sparseness": "feature maps",
    "agreement": "human answers",
    "ceiling_variants": "human answers",
    "tuning": "similarities tuned on answers",
    "calibration": "a fitted slope",
    "sensitivity": "other settings",
    "convergence": "several tasks a unit",
    "similarities": "other similarities",
    "training": "checkpoints",
    "layer_change": "checkpoints from the untrained network on",
    "dose_response": "planted mixtures",
    "control_levels": "control units",
    "his_models": "human answers",
    "his_model_tests": "tests between networks by their answers",
    "his_against_accuracy": "human answers beside accuracy",
    "his_depth": "human answers",
    "difficulty_levels": "answers to harder tasks",
    "difficulty_units": "answers to harder tasks",
    "difficulty_gaps": "answers to harder tasks",
    "difficulty_machine": "harder tasks",
    "natural_synthetic": "answers to synthetic explanations",
    "confidence": "confidence of answers",
    "exclusion_checks": "checks of sessions",
    "activation_histograms": "histograms of activations",
    "scores_people": "other scores beside answers",
    "scores_together": "other scores",
    "explanation_kinds": "several kinds of explanation",
    "choosing_gain": "several kinds of explanation",
    "made_images": "made images",
    "mis_natural_synthetic": "tasks with made images",
    "texts_automatic": "texts of units",
    "texts_crowd": "ratings of texts",
    "texts_tests": "tests between methods of texts",
    "texts_guides": "a second guide",
    "texts_known": "texts of planted units",
    "texts_truth": "texts of known scores",
    "texts_kappa": "ratings of texts",
    "texts_raters": "ratings of texts",
    "crowd_pareto": "simulated crowds",
    "crowd_curves": "simulated crowds",
    "crowd_sampling": "simulated crowds",
    "crowd_aggregation": "simulated crowds",
    "crowd_raters": "simulated crowds",
    "crowd_settings": "simulated crowds",
    "crowd_guides": "several kinds of guide",
}


@dataclass(frozen=True)
class Lacking:
    """Something that a study lacks, the reasons, and the questions that stay open for it alone or with others."""

    what: str
    reasons: tuple[str, ...]
    questions: tuple[str, ...]


def lacking(missing: Iterable[tuple[str, str, str]]) -> list[Lacking]:
    """One row each for what is missing, in the order in which it first is.

    `missing`: figures without data by name, the reason, and the question that has no answer at all ('' where it has one).
    """
    rows: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for figure, reason, question in missing:
        reasons, questions = rows.setdefault(WHAT[figure], ({}, {}))
        reasons.setdefault(reason)
        if question:
            questions.setdefault(question)
    return [Lacking(what, tuple(reasons), tuple(questions)) for what, (reasons, questions) in rows.items()]
