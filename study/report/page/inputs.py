"""The report page: the study's tables, figures and units become one self-contained HTML file.

Everything that comes from data passes through Jinja's autoescape, or lies as JSON in a block that is no code. Figures and
images are data URIs, so that no request leaves the page, and its content policy forbids any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from interpretability.schema import KEY
from study.errors import StudyError
from study.files import sources
from study.files.tables import read_csv, read_json, read_parquet
from study.report.figures import ranking, registry
from study.report.figures.base import Study
from study.report.page.text_files import TextFiles

# tables of the page beside those of its figures
TABLES = (
    *(
        "models",
        "layers",
        "layer_types",
        "backends",
        "backend_agreement",
        "agreement",
        "agreement_differences",
        "trials",
    ),
    *("noise_ceiling", "his_models", "conditions", "natural_synthetic", "confidence", "ranking", "extreme_units"),
    *("residuals", "correlations", "kruskal", "family_bootstrap", "layer_type_tests", "network_tests", "controls"),
    "network_clusters",
    *("explanation_methods", "explanation_tests", "explanation_agreement", "explanation_raters", "explanation_check"),
    *("explanation_guides", "explanation_rejected", "crowd_curves", "crowd_pareto", "crowd_costs"),
    *("training", "training_gain", "calibration", "sensitivity", "constant_units", "failures", "rejected_images"),
    "left_out_layers",
    "exclusions",
)
# columns that stay text even where every value looks like a number
TEXT = {
    *("model", "layer", "condition", "layer_type", "backend", "role", "series", "level", "units", "coefficient"),
    *("margin_of", "group", "groups", "x", "base", "subset", "variant", "first", "second", "stars", "control"),
    *(
        "test",
        "factor",
        "expectation",
        "missed",
        "setting",
        "stage",
        "reason",
        "path",
        "panel",
        "measure",
        "status",
        "slope_status",
        "side",
        "end",
        "method",
        "kind",
        "pooling",
        "sign",
        "part",
        "source",
        "called",
        "of",
    ),
}
# tables that studies made before them lack, and the columns that the page reads of each
LATER = {
    "units_or_directions": "model base layer layer_index backend condition kind pooling n_directions n_units mis_directions "
    "mis_units difference low high p_holm sign n_clusters",
    "sparse_codes": "model layer n_latents n_dead n_too_sparse n_scored needed firing_p10 firing_median firing_p90",
    "scores_compared": "backend part level coefficient first second n n_groups value low high difference difference_low "
    "difference_high p_holm",
    "label_free": "backend model layer n_units",
    "made_images": "model layer unit layer_type layer_index depth seed_set side status median extreme best weakest ratio_best "
    "ratio_weakest kept_after_shift start gradient weight passes stop_ratio alike position_bound in_imi",
    "explanation_kinds": "backend model kind n_units n_images mean base_mean difference low high share naive between_sd n_sets "
    "slope",
    "explanation_kinds_units": "backend model layer unit kind seed_set n_images score se between_sd even odd chosen",
    "made_slopes": "backend condition slope temperature low high status n_units source answers reason",
    "input_sizes": "model of input_size",
    "likeness": "source measure score backend condition n_networks pearson pearson_low pearson_high spearman spearman_low "
    "spearman_high",
    "likeness_networks": "source measure score backend condition model called value mean low high",
    "tuning": "backend family answers status reason n_answers n_units r_untuned r_untuned_low r_untuned_high r_tuned r_tuned_low "
    "r_tuned_high gain gain_low gain_high ceiling",
    "tuning_weights": "backend family fold name weight relative",
    "judged_pairs": "score source backend n_pairs n_left_out n_units n_ties share low high mean_over_bins n_bins",
}
MOST_SHOWN_MODELS = 8  # networks with exemplar images
UNIT_COLUMNS = [*KEY, "layer_type", "mis", "mis_se", "accuracy", "margin_mean", "in_split"]


def read_table(path: Path) -> pd.DataFrame:
    """CSV table whose names stay text, also a network called 50 or null."""
    frame = read_csv(path, text=TEXT)
    # a column of numbers that are all missing reads as empty text
    missing = {name: np.nan for name in frame.columns if name not in TEXT and (frame[name] == "").all()}
    return frame.assign(**missing)


def _table_of(folder: Path, name: str) -> pd.DataFrame:
    """A table of results/tables; without rows where the study was made before there was one of this name."""
    path = folder / f"{name}.csv"
    if name in LATER and not path.is_file():
        return pd.DataFrame(columns=LATER[name].split())
    return read_table(path)


def load_study(
    recorded: Mapping[str, Any],
    tables: Path,
    mis: Path,
    human: Path,
    calibration: Path,
    tasks: Path,
    explanations: Path,
    crowd: Path,
    seeds: pd.DataFrame,
) -> Study:
    """Everything the figures draw. Of the unit scores only networks that are shown or annotated are read.

    `recorded`: the parameters that the tables were computed with, as their provenance has them; `seeds`: `seeds.read_seeds`.
    """
    built = read_json(tasks / "summary.json")
    by_name = {name: _table_of(tables, name) for name in sorted({*TABLES, *LATER, *registry.TABLES_NEEDED})}
    by_name["seeds"] = seeds
    annotated = read_parquet(human / "units.parquet")
    texts = TextFiles.read(explanations, crowd)
    empty = pd.DataFrame(columns=UNIT_COLUMNS)
    study = Study(
        backends=tuple(recorded["scores"]["backends"]),
        confidence=recorded["stats"]["confidence"],
        n_tasks=built["n_tasks"],
        n_explanations=built["n_explanations"],
        tables=by_name,
        units=empty,
        human=annotated,
        curve=read_parquet(calibration / "curve.parquet"),
        simulated=sources.simulated(annotated),
        human_through=sources.through_encoder(annotated),
        seed=recorded["seed"],
        texts=texts.scores(),
        raters=texts.raters,
        rated_by_program=texts.rated_by_program,
        shown_by=texts.shown_by(recorded["explanations"]),
    )
    made = study.tables["made_images"]["model"].astype(str)
    wanted = {*ranking.ridge_models(study), *gallery_models(study), *annotated["model"].astype(str), *made}
    units = _units(mis / "units.parquet", study.lead, sorted(wanted))
    return replace(study, units=units)


def _units(path: Path, backend: str, models: Sequence[str]) -> pd.DataFrame:
    """Units of some networks under one backend, filtered while reading: the file may hold many millions."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    keep = (ds.field("backend") == backend) & ds.field("model").isin(list(models))
    return ds.dataset(path).to_table(columns=UNIT_COLUMNS, filter=keep).to_pandas()


def read_answers(path: Path) -> pd.DataFrame:
    """Answers to the very tasks that are scored here: those of this study's own observers.

    Recorded people saw other images, or the same in other groups.
    """
    answers = read_parquet(path, [*KEY, "task", "correct", "own_tasks"])
    return answers[answers.pop("own_tasks").astype(bool)]


def gallery_models(study: Study) -> list[str]:
    """Networks shown with images: all of few, else the most and the least understandable ones; then those read otherwise."""
    names, turned = list(study.models()["model"]), study.directions()
    half = MOST_SHOWN_MODELS // 2
    shown = names if len(names) <= MOST_SHOWN_MODELS else names[:half] + names[-half:]
    return shown + turned[:MOST_SHOWN_MODELS]
