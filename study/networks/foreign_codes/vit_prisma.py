"""ViT-Prisma (Prisma-Multimodal/ViT-Prisma): a folder with config.json and n_images_N.pt.

With x scaled as `normalize_activations` says (layer_norm unless said otherwise) and p = x - b_dec:
standard   relu(p W_enc + b_enc), or the k largest of p W_enc + b_enc, then relu, where `activation_fn_str` is topk
gated      relu(p W_enc exp(r_mag) + b_mag) where p W_enc + b_gate > 0

Its .pt files hold the object of the configuration beside the tensors. No class of the library is loaded for it: torch's
reader for tensors alone is told to put an empty object in the place of whatever is called vit_prisma.*, and to refuse all
other objects as always.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import shown, sole_table
from interpretability.errors import InputError
from interpretability.weights import read_content
from study.errors import StudyError
from study.networks.foreign_codes.contents import Converted, Settings, Tensors, find_file, read_settings
from study.networks.foreign_codes.options import Options
from study.networks.foreign_codes.shared import built, finished, gates, layer_of, refuse_heads, scaling_of

if TYPE_CHECKING:
    from torch import Tensor

WHAT = "an autoencoder of ViT-Prisma"
_OWN = "vit_prisma."
_N_PREFIX = 1  # tokens before those of patches: the library leaves out the first one


def convert(path: Path, options: Options) -> Converted:
    """The code of a folder, or of a file of weights with config.json beside it or its configuration in it."""
    file = find_file(path, ("n_images_*.pt", "*.pt", "*.safetensors"), WHAT)
    content = _content(file)
    settings = _settings(file, content)
    tensors = Tensors(sole_table(content, file.name), str(file))
    architecture = settings.text("architecture", "standard")
    _refuse(settings, architecture)
    hook = _hook(settings)
    layer, notes = layer_of(hook, options)
    fields, rest = _activation(settings, architecture, tensors)
    code = built(
        str(file),
        f"ViT-Prisma {architecture}: {shown(file.parent.name)}/{shown(file.name)}{f', {shown(hook)}' if hook else ''}",
        options,
        layer,
        {
            "encoder": tensors.take("W_enc", "dm").T,
            "pre_bias": tensors.take("b_dec", "d"),
            "decoder": tensors.take("W_dec", "md"),
            **rest,
        },
        _tokens(settings),
        **fields,
        **scaling_of(settings, "layer_norm", options),
    )
    return finished(code, notes, tensors, f"{WHAT} ({architecture})", options)


class _Dropped:
    """Stands where an object of the library stood; whatever made that one, and its content, are only kept."""

    state: Any

    def __new__(cls, *args: object, **kwargs: object) -> _Dropped:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.state = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def _content(file: Path) -> Any:
    """What a file of weights holds, with objects of ViT-Prisma as _Dropped; no code in it is run."""
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    try:
        return read_content(file)
    except InputError as error:
        refused = error
    try:
        names = get_unsafe_globals_in_checkpoint(file)
    except Exception:  # torch raises many kinds for a file that is no whole checkpoint; the first error says what it is
        raise refused from None
    foreign = [name for name in names if not name.startswith(_OWN)]
    if foreign or not names:
        holds = (
            f"It holds objects of {', '.join(map(shown, foreign[:5]))}, which are not taken apart. " if foreign else ""
        )
        raise StudyError(
            f"{refused}. {holds}Where ViT-Prisma is installed, torch.save(sae.state_dict(), {file.name!r}) beside "
            "config.json makes it a file of tensors alone"
        )
    with safe_globals([(_Dropped, name) for name in names]):
        return read_content(file)


def _settings(file: Path, content: Any) -> Settings:
    """Those of config.json, or of the object that the file holds."""
    config = file.with_name("config.json")
    if config.is_file():
        return read_settings(config)
    kept = (
        next((value for value in content.values() if isinstance(value, _Dropped)), None)
        if isinstance(content, Mapping)
        else None
    )
    state = kept.state if kept is not None else None
    if isinstance(state, dict) and all(isinstance(key, str) for key in state):
        return Settings(state, f"{file}: its configuration")
    raise StudyError(f"{file} has no config.json beside it, which says how its tensors are used; download that too")


def _refuse(settings: Settings, architecture: str) -> None:
    if architecture not in ("standard", "gated"):
        raise StudyError(f"{settings.where}: architecture is {shown(architecture)}; converted are standard and gated")
    if settings.flag("is_transcoder", False):
        raise StudyError(
            f"{settings.where}: is_transcoder is true: it reads one layer and rebuilds another, so its b_dec is of another place "
            "than its input. It cannot be converted"
        )
    refuse_heads(settings, ("hook_point_head_index",))


def _hook(settings: Settings) -> str:
    number = settings.raw("hook_point_layer")
    if isinstance(number, int) and not isinstance(number, bool):
        return f"blocks.{number}.{settings.text('layer_subtype', 'hook_resid_post')}"
    return settings.text("hook_point")


def _tokens(settings: Settings) -> str:
    first, patches = settings.flag("cls_token_only", False), settings.flag("use_patches_only", False)
    if first and patches:
        raise StudyError(
            f"{settings.where}: cls_token_only and use_patches_only are both true; correct the one that is not meant"
        )
    return "class" if first else "patches" if patches else "all"


def _activation(
    settings: Settings, architecture: str, tensors: Tensors
) -> tuple[dict[str, Any], dict[str, Tensor | None]]:
    """Fields and tensors that differ between architectures."""
    activation = settings.text("activation_fn_str", "relu")
    if activation not in ("relu", "topk") or (activation == "topk" and architecture == "gated"):
        raise StudyError(
            f"{settings.where}: activation_fn_str is {shown(activation)} with architecture {architecture}; relu is "
            "converted, and topk with architecture standard"
        )
    fields: dict[str, Any] = {"n_prefix": _N_PREFIX}
    if architecture == "gated":
        tensors.ignore("b_enc")  # made for all, not used by this kind
        return {**fields, "activation": "gated"}, dict(gates(tensors))
    rest: dict[str, Tensor | None] = {"bias": tensors.take("b_enc", "m")}
    if activation == "relu":
        return {**fields, "activation": "relu"}, rest
    k = settings.inner("activation_fn_kwargs").count("k")
    if k is None:
        raise StudyError(f"{settings.where}: activation_fn_str is topk, but activation_fn_kwargs.k is not there")
    return {**fields, "activation": "topk", "k": k, "order": "topk_relu"}, rest
