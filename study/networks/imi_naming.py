"""Layers and networks as the IMI record calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from study.errors import StudyError
from study.files.casts import refuse
from study.files.tables import read_csv, rows_shown

MODEL = re.compile(r"(?P<model>.+?)(?:_(?P<level>hard\d\d))?")
# The record calls the sum at the end of a residual block, before its activation, a shortcut; timm calls another module so.
_SHORTCUT = {"shortcut": "residual_sum"}
# Module paths of CLIP networks as open_clip calls them, in the names of timm. The first rule that fits ends the search.
_BYOB = {
    "conv1": "conv1_1x1_conv",
    "conv2": "conv2_kxk_conv",
    "conv3": "conv3_1x1_conv",
    "bn1": "conv1_1x1_bn",
    "bn2": "conv2_kxk_bn",
    "bn3": "conv3_1x1_bn",
    **_SHORTCUT,
}
_CLIP_VIT = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "ls_1": "ls1",
    "ls_2": "ls2",
    "mlp_c_fc": "mlp_fc1",
    "mlp_c_proj": "mlp_fc2",
}


def read_names(path: Path) -> dict[str, str]:
    """IMI model id -> roster name; the name is empty where the roster has no such network yet."""
    table = read_csv(path, ["imi", "name"], text=["imi", "name", "weights"])
    refuse(path, table["imi"], table["imi"] == "", "imi", "filled")
    doubled = table["imi"].duplicated(keep=False)
    if doubled.any():
        name = table["imi"][doubled].iloc[0]
        rows = ", ".join(map(str, rows_shown(table[table["imi"] == name])))
        raise StudyError(f"{path}: {name} stands in rows {rows}; one row says which network it is")
    return dict(zip(table["imi"], table["name"], strict=True))


def base_model(model: str) -> str:
    """Model id without its difficulty: resnet50_hard85 is resnet50."""
    parts = MODEL.fullmatch(model)
    return parts["model"] if parts else model


def difficulty(model: str) -> str:
    """Condition that the name of a model in the map says: natural, or hard85 ... after its last underscore."""
    parts = MODEL.fullmatch(model)
    return (parts["level"] if parts else None) or "natural"


def match_layers(wanted: Iterable[str], layers: Iterable[str]) -> dict[str, str]:
    """Module path of every IMI layer name that has exactly one; the others are absent.

    IMI joins a module path by "_". Names of CLIP networks are tried without "visual_" and as timm calls the same
    modules; residual sums are layers only where the roster asks for them (column taps).
    """
    flat: dict[str, list[str]] = {}
    for layer in layers:
        flat.setdefault(layer.replace(".", "_"), []).append(layer)
    matched = {}
    for name in wanted:
        for form in _forms(name):
            if len(flat.get(form, [])) == 1:
                matched[name] = flat[form][0]
                break
    return matched


def _forms(name: str) -> list[str]:
    """The name itself and what it may be called elsewhere."""
    plain = name.removeprefix("visual_")
    forms = [name, plain]
    block = re.fullmatch(r"layer(\d+)_(\d+)_(\w+)", plain)
    if block and block[3] in _SHORTCUT:
        forms.append(f"layer{block[1]}_{block[2]}_{_SHORTCUT[block[3]]}")
    if block and block[3] in _BYOB:
        forms.append(f"stages_{int(block[1]) - 1}_{block[2]}_{_BYOB[block[3]]}")
    block = re.fullmatch(r"(?:transformer_)?resblocks_(\d+)_(\w+)", plain)
    if block and block[2] in _CLIP_VIT:
        forms.append(f"blocks_{block[1]}_{_CLIP_VIT[block[2]]}")
    return forms
