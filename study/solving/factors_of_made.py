"""What simulated observers see in made images: factors that the encoder of the study reads, since nobody knows any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability.schema import SYNTHETIC
from interpretability.synthetic.factor_reading import fit_reading
from study.errors import StudyError
from study.files.sources import THROUGH_ENCODER
from study.files.store import WorkStore
from study.images.made import open_made
from study.images.manifest import open_images
from study.log import logger
from study.networks.roster import read_roster, rows_of
from study.networks.similarity import BACKEND, encoder_model
from study.solving.embeddings import embedded_images, embedded_made
from study.solving.opening import SimilarityParams, SimilarityPlan

log = logger("human")


@dataclass(frozen=True)
class Places:
    """Folders of a study: its images, networks, code of one's own, and made images."""

    images: Path
    models: Path
    code: Path
    made: Path


def see_made(
    params: SimilarityParams, places: Places, vectors: NDArray[np.floating]
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Factor vectors (made images, D) of length 1 of all made images of a study, and how good the reading is that gave them.

    vectors   (natural images, D) of the study's scenes, of the factors that the observers do not ignore

    The reading is fitted to the scenes' own factors (`factor_reading.fit_reading`). Raises StudyError where the study has no
    network that could read, and where there are no made images.
    """
    made = open_made(places.made, open_images(places.images, params.images.root, quick=True))
    if made is None:
        raise StudyError(
            f"tasks show made images, but {places.made} has none; run `dvc repro`, or take {SYNTHETIC} out of tasks.conditions"
        )
    path = places.models / "roster.csv"
    why = f"human.source is simulated and tasks.conditions has {SYNTHETIC}: observers see in made images what it reads"
    encoder = encoder_model(params.scores.encoder.model, rows_of(read_roster(path)), str(path), why)
    plan = SimilarityPlan.from_params(BACKEND, params, places.images, places.models, places.code, places.made)
    store = WorkStore.open()
    prepared = embedded_images(plan, store), embedded_made(plan, store)
    scenes, pictures = (each.open() for each in prepared if each is not None)  # an encoder embeds whatever there is
    reading = fit_reading(scenes, vectors, params.seed)
    log.info(
        "made images are seen through %s: held-out cosine of factors %.3f (mean vector alone %.3f)",
        *(encoder, reading.held_out, reading.alone),
    )
    told = {
        "source": THROUGH_ENCODER,
        "encoder": encoder,
        "layer": params.scores.encoder.layer,
        "held_out_cosine": reading.held_out,
        "mean_vector_cosine": reading.alone,
        "n_images": reading.n_images,
        "n_held_out": reading.n_held_out,
        "penalty": reading.penalty,
        "n_made": len(made),
        "median_length": float(np.median(reading.lengths(scenes))),
        "median_length_made": float(np.median(reading.lengths(pictures))),
    }
    return reading.read(pictures), told
