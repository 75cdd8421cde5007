"""Pages that show what a unit likes and ask which of some texts describes it: its own, or those of other units of its layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.randomness import generator
from study.errors import StudyError
from study.files.tables import read_json, read_parquet
from study.log import logger
from study.params.whole import load_params
from study.people import questions
from study.people.asking import chosen_models
from study.people.picking import Page, PickOptions, drawn, n_explanations, shuffled, write_picks
from study.people.studied import read_built

log = logger("picking pages")

ALIKE = 0.9  # correlation of presence over images above which two texts say the same


def export_names(options: PickOptions) -> None:
    """Write the folder of name pages that `options` describe; docs/psychophysics.md has its files.

    A unit is shown by its most exciting pictures among those that no text of the study was made from. Other texts are of units of
    its layer, different in words and not correlated above ALIKE with its own, or with each other, in where they are present; a
    unit of a layer with fewer than `texts` such texts has no page. Same study, same options: same bytes. Raises StudyError
    naming the option, what it is and what is allowed.
    """
    if problem := options.problem():
        raise StudyError(problem)
    questions.vacant(options.out)
    params = load_params(options.params)
    if params.explanations.presence == "none":
        raise StudyError(
            "explanations.presence is none, so nothing says which texts mean the same; --kind name needs it to be another"
        )
    folder = options.data / "explanations"
    texts = read_parquet(folder / "texts.parquet")
    if options.method not in set(texts["method"]):
        known = ", ".join(sorted(map(str, texts["method"].unique()))) or "none"
        raise StudyError(f"--method is {options.method}; methods with texts in this study are {known}")
    texts = texts[texts["method"] == options.method].drop_duplicates(["model", "layer", "unit"])
    # planted units have texts of known truth, and may be named
    models = options.models or chosen_models((), options.data / "models/roster.csv")
    if strangers := [model for model in models if model not in set(texts["model"])] if options.models else []:
        raise StudyError(
            f"--models names {', '.join(strangers)}; units with texts of {options.method} are of "
            f"{', '.join(sorted(map(str, texts['model'].unique())))}"
        )
    presence = _Presence.of(options)
    pages = [
        page
        for model in models
        for page in _pages(options, texts[texts["model"] == model], model, presence, params.seed)
    ]
    if not pages:
        raise StudyError(
            f"no unit of {', '.join(models)} has a text of {options.method} and {options.texts - 1} others of units "
            "of its layer; ask with fewer texts (--texts), another method (--method) or other networks (--models)"
        )
    write_picks(options, params, pages, {"method": options.method, "n_texts": options.texts})


class _Presence:
    """Where concepts are, by their words; `alike` of two texts."""

    def __init__(self, rows: dict[str, NDArray[np.float64]]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, options: PickOptions) -> _Presence:
        from safetensors.numpy import load_file

        folder = options.data / "explanations"
        concepts = read_parquet(folder / "concepts.parquet", ["concept"])["concept"]
        found = load_file(folder / "presence.safetensors")["presence"].astype(np.float64)
        return cls(dict(zip(map(str, concepts), found, strict=True)))

    def alike(self, first: str, second: str) -> bool:
        """Whether two texts are the same words, or present in the same images; of no concepts words alone count."""
        if first == second:
            return True
        if first not in self._rows or second not in self._rows:
            return False
        one, other = self._rows[first], self._rows[second]
        if one.std() == 0 or other.std() == 0:
            return bool(np.array_equal(one, other))
        return float(np.corrcoef(one, other)[0, 1]) > ALIKE


def different(own: str, others: Sequence[str], wanted: int, presence: _Presence) -> list[str]:
    """The first `wanted` of `others` that say something else than `own` and than each other; fewer where there are no more."""
    found: list[str] = []
    for text in others:
        if len(found) == wanted:
            break
        if not any(presence.alike(text, known) for known in (own, *found)):
            found.append(text)
    return found


def _pages(options: PickOptions, texts: pd.DataFrame, model: str, presence: _Presence, seed: int) -> Iterator[Page]:
    """Pages about units of one network."""
    from safetensors.numpy import load_file

    k, data = n_explanations(options), options.data
    layers = read_parquet(data / "activations/layers.parquet")
    offset = layers[layers["model"] == model].astype({"layer": str}).set_index("layer")["offset"]
    top = load_file(data / f"activations/{model}.safetensors")["top_images"]
    told = read_parquet(data / "explanations/images.parquet")
    unseen = told.loc[told["holdout"], "image"].to_numpy()
    summary = read_json(data / "tasks/summary.json")
    kept = summary["n_tasks"] * (summary["n_explanations"] + 1)
    able = []
    for row in texts.astype({"layer": str}).itertuples():
        shown = top[int(offset.loc[str(row.layer)]) + int(row.unit), :kept]  # pyright: ignore[reportArgumentType]
        shown = shown[np.isin(shown, unseen)][:k]
        near = texts[(texts["layer"] == row.layer) & (texts["unit"] != row.unit)]["text"].tolist()
        draw = generator(seed, "names", model, str(row.layer), int(row.unit))  # pyright: ignore[reportArgumentType]
        others = different(str(row.text), [near[at] for at in draw.permutation(len(near))], options.texts - 1, presence)
        if len(shown) == k and len(others) == options.texts - 1:
            able.append((row.layer, row.unit, shown, *shuffled(str(row.text), others, draw)))
    if len(able) < len(texts):
        log.info(
            "%s: %d of %d units with a text of %s can be asked about", model, len(able), len(texts), options.method
        )
    if not able:
        return
    table = pd.DataFrame(able, columns=["layer", "unit", "images", "texts", "answer"])
    for row in drawn(read_built(data / "tasks", model), table, options.units, seed, exact=False).itertuples():
        images = tuple(map(int, row.images))  # pyright: ignore[reportArgumentType]
        yield Page((model, str(row.layer), int(row.unit)), 0, images, 0, row.texts, int(row.answer))  # pyright: ignore[reportArgumentType]
