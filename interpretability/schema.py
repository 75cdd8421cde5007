"""Words that tables and arrays share. Columns of one table stay beside the function that makes it."""

from __future__ import annotations

UNIT = ["model", "layer", "unit"]
KEY = [*UNIT, "condition"]  # a unit under a condition: the key of every table of tasks, scores and answers
FACTS = ["layer_type", "layer_index", "depth", "width"]  # of a layer, repeated where a unit is described
LAYER_TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm", "Other")
SCORED_TYPES = LAYER_TYPES[:-1]  # whose units have scores in the MIS paper

NATURAL, SYNTHETIC = "natural", "synthetic"
# Percent of the images that lie beyond the queries of a harder condition, on either side (IMI, section 4.4).
HARD = {"hard99": 1, "hard95": 5, "hard85": 15}
CONDITIONS = (NATURAL, *HARD)
MIXED = "mixed"  # natural and made images explain together; IMI has no such tasks
MADE = (SYNTHETIC, MIXED)  # conditions whose explanations are, or hold, images made for the unit
# Both negative sides, explanations and query, are images drawn at random instead of those that excite a unit least.
ONE_SIDED = "one_sided"
POOLED = "@"  # a layer's name up to here is that of its units; what follows says how its directions are pooled

MOST_TASKS = 32_767  # of a unit: tables keep their numbers in 16 bits

SIDES = ("positive", "negative")
MADE_SIDES = ("max", "min")  # what an image was made for: as much of a unit as can be, or as little
# Of the images of a side: the weakest beats every natural image; it does not; there are none, for no start has a gradient.
BEATS, BELOW, UNREACHABLE = "beats_nature", "below_nature", "unreachable"
ROLES = ("explanation_pos", "explanation_neg", "query_pos", "query_neg")  # of an image in a task

SCORE_COLUMNS = ["mis", "mis_se", "accuracy", "margin_mean", "margin_sd", "n_tasks", "n_near"]
MAP_STATISTICS = ("contrast", "pixel_sparseness", "channel_sparseness")
LEVELS = ("unit", "unit_within", "model")  # of agreement: units, units inside a network, networks
UNIT_SETS = ("all", "outside_split")
GROUPS = ("easiest", "random", "hardest")
