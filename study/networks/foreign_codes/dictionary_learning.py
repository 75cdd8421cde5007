"""dictionary_learning (saprmarks/dictionary_learning, and its copy in ExplainableML/sae-for-vlm): ae.pt with config.json.

AutoEncoder             relu(W (x - bias) + b); its loader multiplies by the norms of the decoder, unless all are 1
AutoEncoderNew          relu(W x + b)
AutoEncoderTopK         relu(W (x - b_dec) + b), of which the k largest
BatchTopKSAE, MatryoshkaBatchTopKSAE   relu(h) where h = W (x - b_dec) + b > threshold; below 0 it was never set
JumpReluAutoEncoder     relu(h) where h = W x + b > threshold of the latent
GatedAutoEncoder        relu(exp(r_mag) g + mag_bias) where g + gate_bias > 0, with g = W (x - decoder_bias)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import shown, sole_table
from interpretability.weights import read_content
from study.errors import StudyError
from study.networks.foreign_codes.contents import Converted, Settings, Tensors, find_file, listed, read_settings
from study.networks.foreign_codes.options import Options
from study.networks.foreign_codes.shared import built, finished, layer_of

if TYPE_CHECKING:
    from torch import Tensor

Parts = tuple[dict[str, Any], dict[str, "Tensor | None"], list[str]]  # fields, tensors, notes

WHAT = "a dictionary of dictionary_learning"
_BACKUP = {"ae", "optimizer"}
_SPELLINGS = {"MatroyshkaBatchTopKSAE": "MatryoshkaBatchTopKSAE"}  # of sae-for-vlm


def convert(path: Path, options: Options) -> Converted:
    """The code of a folder, or of a file of weights with config.json beside it or in the folder above."""
    file = find_file(path, ("ae.pt", "*.pt"), WHAT)
    content = read_content(file)
    if isinstance(content, Mapping) and set(content) >= _BACKUP:
        raise StudyError(
            f"{file} is a backup of a training that goes on (it holds {listed(content)}): its biases are those of inputs "
            "divided by norm_factor. Convert ae.pt, which is written when the training ends, or a file of its folder checkpoints"
        )
    trainer = _trainer(file)
    tensors = Tensors(sole_table(content, file.name), str(file))
    kind = _kind(tensors, trainer, options)
    fields, parts, notes = CLASSES[kind](tensors, trainer, options)
    place = trainer.text("submodule_name")
    layer, said = layer_of(place, options)
    code = built(
        str(file),
        f"dictionary_learning {kind}: {shown(file.parent.name)}/{shown(file.name)}{f', {shown(place)}' if place else ''}",
        options,
        layer,
        parts,
        "all",
        **fields,
    )
    return finished(code, [*notes, *said], tensors, kind, options)


def _trainer(file: Path) -> Settings:
    """Settings of the training, none where there is no file of them."""
    for folder in (file.parent, file.parent.parent):
        config = folder / "config.json"
        if config.is_file() and (folder == file.parent or file.parent.name == "checkpoints"):
            return read_settings(config).inner("trainer")
    return Settings({}, f"{file}: no config.json")


def _kind(tensors: Tensors, trainer: Settings, options: Options) -> str:
    """The class that wrote the file: as its configuration or the user says, or by its tensors where only one has them."""
    given, stated = options.take("class"), trainer.text("dict_class")
    given, stated = (_SPELLINGS.get(name, name) for name in (given or "", stated))
    if given and stated and given != stated:
        raise StudyError(
            f"{trainer.where}: dict_class is {shown(stated)}, but --class is {shown(given)}; leave --class out"
        )
    kind = given or stated or _by_tensors(tensors)
    if kind not in CLASSES:
        raise StudyError(f"{tensors.where}: class {shown(kind)} is not converted; those that are: {', '.join(CLASSES)}")
    return kind


def _by_tensors(tensors: Tensors) -> str:
    for name, kind in (
        ("group_sizes", "MatryoshkaBatchTopKSAE"),
        ("gate_bias", "GatedAutoEncoder"),
        ("W_enc", "JumpReluAutoEncoder"),
        ("bias", "AutoEncoder"),
        ("decoder.bias", "AutoEncoderNew"),
    ):
        if name in tensors:
            return kind
    if "b_dec" in tensors:
        raise StudyError(
            f"{tensors.where} has no config.json beside it, and its tensors are those of AutoEncoderTopK and of BatchTopKSAE, "
            "which compute different values. Download config.json too, or say which with --class"
        )
    raise StudyError(f"{tensors.where} is not {WHAT}: it holds {listed(tensors.names)}")


def _linear(tensors: Tensors, pre_bias: str, *, bias: bool = True) -> dict[str, Tensor | None]:
    """Tensors of the classes with two linear modules; the decoder's is transposed."""
    return {
        "encoder": tensors.take("encoder.weight", "md"),
        "bias": tensors.take("encoder.bias", "m") if bias else None,
        "pre_bias": tensors.take(pre_bias, "d") if pre_bias else None,
        "decoder": tensors.take("decoder.weight", "dm").T,
    }


def _matrices(tensors: Tensors, *, subtracted: bool) -> dict[str, Tensor | None]:
    """Tensors of the classes with plain matrices; the encoder's is transposed."""
    encoder, bias = tensors.take("W_enc", "dm").T, tensors.take("b_enc", "m")
    pre_bias = tensors.take("b_dec", "d")
    decoder = tensors.take("W_dec", "md")
    return {"encoder": encoder, "bias": bias, "pre_bias": pre_bias if subtracted else None, "decoder": decoder}


def _plain(tensors: Tensors, trainer: Settings, options: Options) -> Parts:
    import torch

    parts = _linear(tensors, "bias")
    given, decoder = options.take("decoder_norm"), parts["decoder"]
    norms = decoder.norm(dim=1) if decoder is not None else None
    scaled = norms is not None and not torch.allclose(norms, torch.ones_like(norms))
    norm = given or ("after" if scaled else "none")
    notes = ["values are times the norms of the decoder, as by from_pretrained; --decoder-norm none leaves them out"]
    return {"activation": "relu", "decoder_norm": norm}, parts, notes if norm == "after" and not given else []


def _new(tensors: Tensors, trainer: Settings, options: Options) -> Parts:
    parts = _linear(tensors, "")
    tensors.ignore("decoder.bias")  # acts on the reconstruction alone
    return {"activation": "relu"}, parts, []


def _top_k(tensors: Tensors, trainer: Settings, options: Options) -> Parts:
    tensors.ignore("threshold")  # is not looked at unless asked for
    return (
        {"activation": "topk", "k": _k(tensors, trainer, options), "order": "relu_topk"},
        _linear(tensors, "b_dec"),
        [],
    )


def _k(tensors: Tensors, trainer: Settings, options: Options) -> int:
    """The number that the file, its configuration or the user says; they may not differ."""
    said = {"tensor k": tensors.scalar("k"), "trainer.k": trainer.count("k"), "--k": options.take("k")}
    values = {name: value for name, value in said.items() if value is not None}
    if len(set(values.values())) > 1:
        raise StudyError(
            f"{tensors.where}: {' and '.join(f'{name} is {value:g}' for name, value in values.items())}; which one holds?"
        )
    if not values:
        raise StudyError(f"{tensors.where} does not say how many latents are kept; say so with --k")
    value = next(iter(values.values()))
    if value != value // 1 or value < 1:
        raise StudyError(f"{tensors.where}: k is {value:g}; it must be a whole number of at least 1")
    return int(value)


def _thresholded(parts: Callable[[Tensors], dict[str, Tensor | None]]) -> Callable[[Tensors, Settings, Options], Parts]:
    """One threshold for all latents, from the file or the user."""

    def converted(tensors: Tensors, trainer: Settings, options: Options) -> Parts:
        found = parts(tensors)
        tensors.ignore("k")  # of the training; at inference the threshold acts
        stored, given = tensors.scalar("threshold"), options.take("threshold")
        if stored is not None and stored >= 0 and given is not None and given != stored:
            raise StudyError(
                f"{tensors.where}: its threshold is {stored:g}, but --threshold is {given:g}; leave --threshold out"
            )
        threshold = given if given is not None else stored
        if threshold is None:
            raise StudyError(
                f"{tensors.where} holds no threshold, and with k alone its values would depend on the batch; say --threshold"
            )
        if threshold < 0:
            note = f"its threshold is {threshold:g}: it was never set (too few steps), so that the code is a plain relu"
            return {"activation": "relu"}, found, [note]
        found["threshold"] = _full(tensors.sizes["m"], threshold)
        return {"activation": "jumprelu", "comparison": ">"}, found, []

    return converted


def _full(size: int, value: float) -> Tensor:
    import torch

    return torch.full((size,), value, dtype=torch.float64)


def _batch(tensors: Tensors) -> dict[str, Tensor | None]:
    return _linear(tensors, "b_dec")


def _matryoshka(tensors: Tensors) -> dict[str, Tensor | None]:
    tensors.ignore("group_sizes")  # all groups are active unless code says otherwise
    return _matrices(tensors, subtracted=True)


def _jump(tensors: Tensors, trainer: Settings, options: Options) -> Parts:
    subtracted = bool(options.take("apply_b_dec"))
    parts = _matrices(tensors, subtracted=subtracted)
    parts["threshold"] = tensors.take("threshold", "m")
    notes = [
        "b_dec is not subtracted from the input, as by default; where apply_b_dec_to_input was set, say --apply-b-dec"
    ]
    return {"activation": "jumprelu", "comparison": ">"}, parts, [] if subtracted else notes


def _gated(tensors: Tensors, trainer: Settings, options: Options) -> Parts:
    parts = _linear(tensors, "decoder_bias", bias=False)
    parts["bias"] = tensors.take("mag_bias", "m")
    parts["gate_bias"] = tensors.take("gate_bias", "m")
    parts["magnitude"] = tensors.take("r_mag", "m").exp()
    return {"activation": "gated", "decoder_norm": options.take("decoder_norm") or "none"}, parts, []


CLASSES: dict[str, Callable[[Tensors, Settings, Options], Parts]] = {
    "AutoEncoder": _plain,
    "AutoEncoderNew": _new,
    "AutoEncoderTopK": _top_k,
    "BatchTopKSAE": _thresholded(_batch),
    "MatryoshkaBatchTopKSAE": _thresholded(_matryoshka),
    "JumpReluAutoEncoder": _jump,
    "GatedAutoEncoder": _gated,
}
