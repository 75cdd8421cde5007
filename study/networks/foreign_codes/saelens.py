"""SAELens (decoderesearch/SAELens): a folder with cfg.json and sae_weights.safetensors, of version 6 or before.

With x scaled as `normalize_activations` says, p = x - b_dec where `apply_b_dec_to_input` (true unless said otherwise), else x:
standard   relu(p W_enc + b_enc)
topk       the k largest of p W_enc + b_enc, then relu; times the norm of the latent's row of W_dec before they are chosen, where
           `rescale_acts_by_decoder_norm`, and so kept
jumprelu   relu(h) where h = p W_enc + b_enc > threshold; autoencoders trained with BatchTopK are saved so
gated      relu(p W_enc exp(r_mag) + b_mag) where p W_enc + b_gate > 0
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import shown, sole_table
from interpretability.weights import read_content
from study.errors import StudyError
from study.networks.foreign_codes.contents import Converted, Settings, Tensors, find_file, read_settings
from study.networks.foreign_codes.options import Options
from study.networks.foreign_codes.shared import built, finished, gates, layer_of, refuse_heads, scaling_of

if TYPE_CHECKING:
    from torch import Tensor

WHAT = "an autoencoder of SAELens"
ARCHITECTURES = ("standard", "topk", "jumprelu", "gated")
_TRAINING = ("batchtopk", "matryoshka_batchtopk")


def convert(path: Path, options: Options) -> Converted:
    """The code of a folder, or of a file of weights with cfg.json beside it."""
    file = find_file(path, ("sae_weights.safetensors",), WHAT)
    config = file.with_name("cfg.json")
    if not config.is_file():
        raise StudyError(f"{file} has no cfg.json beside it, which says how its tensors are used; download that too")
    settings = read_settings(config)
    metadata = settings.inner("metadata")
    tensors = Tensors(sole_table(read_content(file), file.name), str(file))
    architecture, k = _architecture(settings)
    hook = _hook(settings, metadata)
    layer, notes = layer_of(hook, options)
    scaling = scaling_of(settings, "none", options)
    fields, rest = _activation(architecture, tensors, settings, k)
    encoder = tensors.take("W_enc", "dm").T
    bias = tensors.take("b_dec", "d")
    subtracted = settings.flag("apply_b_dec_to_input", True)
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        if tensors.ignore(name):
            notes.append(f"{name} acts on the reconstruction alone and is left out")
    version = settings.text("sae_lens_version") or metadata.text("sae_lens_version")
    code = built(
        str(file),
        f"SAELens{f' {shown(version)}' if version else ''} {architecture}: {shown(file.parent.name)}/{file.name}"
        f"{f', {shown(hook)}' if hook else ''}",
        options,
        layer,
        {"encoder": encoder, "pre_bias": bias if subtracted else None, "decoder": tensors.take("W_dec", "md"), **rest},
        "all",
        **fields,
        **scaling,
    )
    return finished(code, notes, tensors, f"{WHAT} ({architecture})", options)


def _architecture(settings: Settings) -> tuple[str, int | None]:
    """The kind of autoencoder, and its k; before version 6 the activation says what is a topk."""
    architecture = settings.text("architecture", "standard")
    activation = settings.text("activation_fn") or settings.text("activation_fn_str") or "relu"
    if architecture in _TRAINING:
        raise StudyError(
            f"{settings.where}: architecture is {architecture}, a state of training whose threshold holds for its own weights "
            "alone. Save it for inference (save_inference_model), which makes it jumprelu, and convert that"
        )
    if architecture not in ARCHITECTURES:
        raise StudyError(
            f"{settings.where}: architecture is {shown(architecture)}, which is no single linear map with an activation "
            f"that this project has; converted are {', '.join(ARCHITECTURES)}"
        )
    if activation == "topk" and architecture == "standard":
        architecture = "topk"
    if activation not in ("relu", "topk") or (activation == "topk" and architecture != "topk"):
        raise StudyError(
            f"{settings.where}: activation_fn is {shown(activation)} with architecture {architecture}; relu is converted, "
            "and topk with architecture standard or topk"
        )
    if architecture != "topk":
        return architecture, None
    k = settings.count("k") or settings.inner("activation_fn_kwargs").count("k")
    if k is None:
        raise StudyError(
            f"{settings.where}: a topk needs k (or, before version 6, activation_fn_kwargs.k), and there is none"
        )
    return architecture, k


def _hook(settings: Settings, metadata: Settings) -> str:
    """Where the autoencoder was made; refused where it reads heads of an attention."""
    hook = metadata.text("hook_name") or settings.text("hook_name") or settings.text("hook_point")
    for part in (settings, metadata):
        refuse_heads(part, ("hook_head_index", "hook_point_head_index"))
    if settings.text("reshape_activations", "none") != "none" or hook.endswith("hook_z"):
        raise StudyError(
            f"{settings.where}: it reads {shown(hook) or 'hook_z'}, the heads of an attention side by side (reshape_activations: "
            "hook_z), which is no output of a module. It cannot be converted"
        )
    return hook


def _activation(
    architecture: str, tensors: Tensors, settings: Settings, k: int | None
) -> tuple[dict[str, Any], dict[str, Tensor | None]]:
    """Fields and tensors that differ between architectures."""
    if architecture == "gated":
        tensors.ignore("b_enc")  # of early versions, which did not use it either
        return {"activation": "gated"}, dict(gates(tensors))
    rest: dict[str, Tensor | None] = {"bias": tensors.take("b_enc", "m")}
    if architecture == "standard":
        return {"activation": "relu"}, rest
    if architecture == "jumprelu":
        return {"activation": "jumprelu", "comparison": ">"}, {**rest, "threshold": tensors.take("threshold", "m")}
    rescaled = settings.flag("rescale_acts_by_decoder_norm", False)
    fields = {"k": k, "order": "topk_relu", "decoder_norm": "before" if rescaled else "none"}
    return {"activation": "topk", **fields}, rest
