"""What produced the results: versions, device kinds, seeds and digests. No time, no host, no path, no commit."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interpretability.files import sha256_file
from study.environment import COMPUTING
from study.files.tables import read_csv, read_json

# of a resolved roster, what does not hang on the seed
_ROSTER = (
    "name",
    "constructor",
    "kwargs",
    "weights",
    "preprocessing",
    "role",
    "series",
    "step",
    "directions",
    "taps",
    "of",
)
# parameters that two runs of one study may differ in; similarities tuned on answers have tables of their own, and change no other
_FREE = ("seed", "report", "tuning")
# in the embedded study: units of resnet, whose whole columns are kept anyway, and networks that nobody is asked about
_WINDOWS = ["resnet/hard85", "resnet-step0/hard85", "resnet-permuted/hard85"]
# keys that came later, with the values under which a study is what it was without them
_LATER: Mapping[tuple[str, str], tuple[object, ...]] = {
    ("activations", "compile"): ("none",),
    ("activations", "windows"): ([], _WINDOWS),
    ("label_free", "localizability"): ([],),
    ("stats", "likeness"): ({"tables": (), "decisions": "", "names": ()},),
}
_RAN = ("ran_in", "forms", "n_networks")  # how networks ran, where it was not as asked for or not plainly
PACKAGES = (*COMPUTING, "dvc", "matplotlib", "scikit-posthocs", "statsmodels")


def describe(
    *,
    images: Path,
    models: Path,
    activations: Path,
    visualisations: Path,
    tasks: Path,
    params: Mapping[str, Any],
    encoder: str = "",
) -> dict[str, Any]:
    """Provenance of a study from the sidecars of its stages; `params` is params.yaml as nested mappings.

    encoder: the network behind the similarity of that name, where the parameters leave its choice to the roster
    """
    summary, note = read_json(images / "summary.json"), read_json(activations / "run.json")
    made = read_json(visualisations / "run.json")
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "device_kinds": note["device_kinds"],
        **{name: note[name] for name in _RAN if name in note},
        "images": summary,
        "digests": {
            "images": summary["digest"],
            "manifest": sha256_file(images / "manifest.parquet"),
            "roster": sha256_file(models / "roster.csv"),
            "study": study_digest(params, models / "roster.csv"),
            "task_rule": read_json(tasks / "summary.json"),
            **({"made_images": made["images"]} if made["made_on"] else {}),
        },
        **({"encoder": encoder} if encoder else {}),
        "params": dict(params),
    }


def study_digest(params: Mapping[str, Any], roster: Path) -> str:
    """Digest of what a study is, whatever its seed and its page: runs with the same one differ by chance alone."""
    chosen = {name: value for name, value in params.items() if name not in _FREE}
    for (group, key), usual in _LATER.items():
        if chosen.get(group, {}).get(key) in usual:
            chosen[group] = _without(chosen[group], key)
    if "explanations" in chosen:  # scores by a second guide have a table of their own, and change no other
        chosen["explanations"] = _without(chosen["explanations"], "second_guide")
    training = chosen.get("models", {}).get("training", {})
    if training.get("recipe") == "one_cycle":  # then what a3 says is not looked at
        kept = {name: value for name, value in training.items() if name not in ("recipe", "a3")}
        chosen["models"] = {**chosen["models"], "training": kept}
    rows = read_csv(roster, _ROSTER, _ROSTER)[list(_ROSTER)]
    content = json.dumps({"params": chosen, "roster": rows.to_dict("split")["data"]}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _without(group: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != key}
