"""Autoencoders as other libraries save them, with their names and shapes, and what each library computes, written out slowly.

Every case writes files into a folder and says what of them is converted, with which options, and the values that the library
computes at positions of a layer, in float64 and one number at a time where that is short.
"""

import json
import sys
import types
from dataclasses import dataclass, field

import torch
from safetensors.torch import save_file

WIDTH, LATENTS = 12, 20


def numbers(*shape, seed, mean=0.0, spread=1.0):
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (mean + spread * drawn).float()


POSITIONS = numbers(40, WIDTH, seed=1, mean=0.7, spread=1.5).double()
W_ENC = numbers(WIDTH, LATENTS, seed=2, spread=0.4)
W_DEC = numbers(LATENTS, WIDTH, seed=3, spread=0.3)
B_ENC = numbers(LATENTS, seed=4, spread=0.3)
B_DEC = numbers(WIDTH, seed=5, spread=0.5)
THRESHOLD = numbers(LATENTS, seed=6, mean=0.6, spread=0.2)
B_GATE, B_MAG = numbers(LATENTS, seed=7, spread=0.4), numbers(LATENTS, seed=8, spread=0.4)
R_MAG = numbers(LATENTS, seed=9, spread=0.3)


def relu(value):
    return value.clamp(min=0)


def largest(values, k):
    """The k largest of each row, others 0; one row at a time."""
    kept = torch.zeros_like(values)
    for row, out in zip(values, kept, strict=True):
        for place in sorted(range(len(row)), key=lambda i, row=row: -row[i])[:k]:
            out[place] = row[place]
    return kept


def layer_norm(x):
    """Standard deviation with n - 1, and the small number outside of it."""
    mean = x.sum(1, keepdim=True) / WIDTH
    std = (((x - mean) ** 2).sum(1, keepdim=True) / (WIDTH - 1)).sqrt()
    return (x - mean) / (std + 1e-5)


def constant_norm(x):
    return x * (WIDTH**0.5 / (x**2).sum(1, keepdim=True).sqrt())


def linear(x, weight, bias):
    """x @ weight + bias; weight (width, latents)."""
    return x @ weight.double() + bias.double()


@dataclass
class Case:
    name: str
    kind: str
    write: object  # folder -> what to convert
    values: object  # positions -> what the library computes
    options: dict = field(default_factory=dict)
    expected: dict = field(default_factory=dict)  # fields of the code


def saelens(tensors, config):
    def write(folder):
        save_file(
            {name: value.clone().contiguous() for name, value in tensors.items()}, folder / "sae_weights.safetensors"
        )
        (folder / "cfg.json").write_text(json.dumps(config))
        return folder

    return write


PLAIN = {"W_enc": W_ENC, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}
GATED = {"W_enc": W_ENC, "W_dec": W_DEC, "b_dec": B_DEC, "b_gate": B_GATE, "b_mag": B_MAG, "r_mag": R_MAG}
NORMS = W_DEC.double().norm(dim=1)


def v6(**changes):
    """cfg.json as version 6 writes it."""
    return {
        "d_in": WIDTH,
        "d_sae": LATENTS,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": "blocks.7.hook_resid_post", "hook_head_index": None},
        "architecture": "standard",
    } | changes


def v5(**changes):
    """cfg.json as versions 3 to 5 wrote it."""
    return {
        "architecture": "standard",
        "d_in": WIDTH,
        "d_sae": LATENTS,
        "activation_fn_str": "relu",
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "hook_name": "blocks.2.hook_mlp_out",
        "hook_head_index": None,
        "normalize_activations": "none",
        "sae_lens_training_version": "3.22.1",
    } | changes


def gated(p):
    g = linear(p, W_ENC, torch.zeros(LATENTS))
    return relu(g * R_MAG.double().exp() + B_MAG.double()) * (g + B_GATE.double() > 0)


def jump(h, threshold, kept):
    return relu(h) * kept(h, threshold)


def above(h, threshold):
    return h > threshold


def from_(h, threshold):
    return h >= threshold


SAELENS = [
    Case(
        "standard",
        "saelens",
        saelens(PLAIN, v6()),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)),
        expected={"layer": "blocks.7"},
    ),
    Case(
        "b_dec left alone",
        "saelens",
        saelens(PLAIN, v6(apply_b_dec_to_input=False)),
        lambda x: relu(linear(x, W_ENC, B_ENC)),
        expected={"pre_bias": None},
    ),
    Case(
        "layer norm",
        "saelens",
        saelens(PLAIN, v6(normalize_activations="layer_norm")),
        lambda x: relu(linear(layer_norm(x) - B_DEC.double(), W_ENC, B_ENC)),
    ),
    Case(
        "constant norm",
        "saelens",
        saelens(PLAIN, v6(normalize_activations="constant_norm_rescale")),
        lambda x: relu(linear(constant_norm(x) - B_DEC.double(), W_ENC, B_ENC)),
    ),
    Case(
        "average norm with its factor",
        "saelens",
        saelens(PLAIN, v6(normalize_activations="expected_average_only_in")),
        lambda x: relu(linear(0.25 * x - B_DEC.double(), W_ENC, B_ENC)),
        {"factor": 0.25},
    ),
    Case(
        "average norm that is folded",
        "saelens",
        saelens(PLAIN, v6(normalize_activations="expected_average_only_in")),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)),
        {"factor": 1.0},
        {"scaling": "none"},
    ),
    Case(
        "topk",
        "saelens",
        saelens(PLAIN, v6(architecture="topk", k=12)),
        lambda x: relu(largest(linear(x - B_DEC.double(), W_ENC, B_ENC), 12)),
        expected={"order": "topk_relu", "decoder_norm": "none"},
    ),
    Case(
        "topk by norms of the decoder",
        "saelens",
        saelens(PLAIN, v6(architecture="topk", k=4, rescale_acts_by_decoder_norm=True)),
        lambda x: relu(largest(linear(x - B_DEC.double(), W_ENC, B_ENC) * NORMS, 4)),
        expected={"decoder_norm": "before"},
    ),
    Case(
        "jumprelu",
        "saelens",
        saelens(PLAIN | {"threshold": THRESHOLD}, v6(architecture="jumprelu", apply_b_dec_to_input=False)),
        lambda x: jump(linear(x, W_ENC, B_ENC), THRESHOLD.double(), above),
        expected={"comparison": ">"},
    ),
    Case("gated", "saelens", saelens(GATED, v6(architecture="gated")), lambda x: gated(x - B_DEC.double())),
    Case(
        "before 6",
        "saelens",
        saelens(PLAIN | {"scaling_factor": torch.ones(LATENTS)}, v5()),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)),
        expected={"layer": "blocks.2.mlp"},
    ),
    Case(
        "first versions",
        "saelens",
        saelens(PLAIN, {"hook_point": "blocks.3.hook_resid_pre", "d_in": WIDTH, "normalize_activations": False}),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)),
        expected={"layer": ""},
    ),
    Case(
        "topk before 6",
        "saelens",
        saelens(PLAIN, v5(activation_fn_str="topk", activation_fn_kwargs={"k": 5}, normalize_activations=True)),
        lambda x: relu(largest(linear(2 * x - B_DEC.double(), W_ENC, B_ENC), 5)),
        {"factor": 2.0},
    ),
]

WEIGHT, BIAS = W_ENC.T.contiguous(), B_ENC
DICTIONARY = {"dictionary._weights": W_DEC, "dictionary.multiplier": torch.tensor(0.5)}
LINEAR = {"encoder.final_block.0.weight": WEIGHT, "encoder.final_block.0.bias": BIAS}
NORM_OF_BATCHES = {
    "encoder.final_block.1.weight": numbers(LATENTS, seed=10, mean=1, spread=0.2),
    "encoder.final_block.1.bias": numbers(LATENTS, seed=11, spread=0.2),
    "encoder.final_block.1.running_mean": numbers(LATENTS, seed=12, spread=0.5),
    "encoder.final_block.1.running_var": numbers(LATENTS, seed=13).abs() + 1e-4,
    "encoder.final_block.1.num_batches_tracked": torch.tensor(7),
}
LOGARITHMS = numbers(LATENTS, seed=14, mean=-0.5, spread=0.3)


def pickled(content, name="sae.pt"):
    def write(folder):
        torch.save(content, folder / name)
        return folder / name

    return write


def normed(h):
    mean, variance, scale, shift = (
        NORM_OF_BATCHES[f"encoder.final_block.1.{name}"].double()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (h - mean) / (variance + 1e-5).sqrt() * scale + shift


OVERCOMPLETE = [
    Case(
        "SAE", "overcomplete", pickled(LINEAR | DICTIONARY), lambda x: relu(linear(x, W_ENC, B_ENC)), {"class": "SAE"}
    ),
    Case(
        "TopKSAE",
        "overcomplete",
        pickled(LINEAR | DICTIONARY),
        lambda x: largest(relu(linear(x, W_ENC, B_ENC)), 5),
        {"class": "TopKSAE", "k": 5},
        {"order": "relu_topk"},
    ),
    Case(
        "batch norm",
        "overcomplete",
        pickled(LINEAR | NORM_OF_BATCHES | DICTIONARY),
        lambda x: largest(relu(normed(linear(x, W_ENC, B_ENC))), 5),
        {"class": "TopKSAE", "k": 5},
    ),
    Case(
        "BatchTopKSAE",
        "overcomplete",
        pickled(LINEAR | DICTIONARY),
        lambda x: jump(linear(x, W_ENC, B_ENC), 0.75, from_),
        {"class": "BatchTopKSAE", "threshold": 0.75},
        {"comparison": ">="},
    ),
    Case(
        "JumpSAE",
        "overcomplete",
        pickled(LINEAR | DICTIONARY | {"thresholds": LOGARITHMS}),
        lambda x: jump(linear(x, W_ENC, B_ENC), LOGARITHMS.double().exp(), from_),
    ),
    Case(
        "RAJumpSAE",
        "overcomplete",
        pickled(
            LINEAR
            | {"thresholds": LOGARITHMS, "dictionary.C": torch.ones(5, WIDTH), "dictionary.W": torch.ones(LATENTS, 5)}
            | {"dictionary.Relax": W_DEC, "dictionary.multiplier": torch.tensor(0.0)}
        ),
        lambda x: jump(linear(x, W_ENC, B_ENC), LOGARITHMS.double().exp(), from_),
        {"class": "RAJumpSAE"},
        {"decoder": None},
    ),
    Case(
        "untied",
        "overcomplete",
        pickled({"encoder.weight": WEIGHT} | DICTIONARY),
        lambda x: relu(linear(x, W_ENC, torch.zeros(LATENTS))),
        {"class": "SAE"},
        {"bias": None},
    ),
    Case(
        "tied",
        "overcomplete",
        pickled(
            {"encoder.bias": BIAS, "encoder.tied_to._weights": W_DEC, "encoder.tied_to.multiplier": torch.tensor(0.5)}
            | DICTIONARY
        ),
        lambda x: relu(x @ (W_DEC.double() * torch.tensor(0.5).double().exp()).T + BIAS.double()),
        {"class": "SAE"},
    ),
]


def trained(tensors, trainer=None, name="ae.pt"):
    """A folder of dictionary_learning."""

    def write(folder):
        torch.save(tensors, folder / name)
        if trainer is not None:
            (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
        return folder

    return write


MODULES = {"encoder.weight": WEIGHT, "encoder.bias": BIAS, "decoder.weight": W_DEC.T.contiguous()}
K = {"k": torch.tensor(6, dtype=torch.int), "threshold": torch.tensor(0.5)}
GATES = {"r_mag": R_MAG, "gate_bias": B_GATE, "mag_bias": B_MAG, "decoder_bias": B_DEC}
NEVER = {"k": torch.tensor(6, dtype=torch.int), "threshold": torch.tensor(-1.0)}
GROUPS = {"group_sizes": torch.tensor([8, LATENTS - 8])}
DICTIONARY_LEARNING = [
    Case(
        "AutoEncoder",
        "dictionary_learning",
        trained(MODULES | {"bias": B_DEC}, {"dict_class": "AutoEncoder", "submodule_name": None, "layer": 3}),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)) * NORMS,
        expected={"decoder_norm": "after"},
    ),
    Case(
        "AutoEncoder without norms",
        "dictionary_learning",
        trained(MODULES | {"bias": B_DEC}),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)),
        {"decoder_norm": "none"},
    ),
    Case(
        "AutoEncoderNew",
        "dictionary_learning",
        trained(MODULES | {"decoder.bias": B_DEC}),
        lambda x: relu(linear(x, W_ENC, B_ENC)),
    ),
    Case(
        "AutoEncoderTopK",
        "dictionary_learning",
        trained(MODULES | {"b_dec": B_DEC} | K, {"dict_class": "AutoEncoderTopK", "k": 6}),
        lambda x: largest(relu(linear(x - B_DEC.double(), W_ENC, B_ENC)), 6),
    ),
    Case(
        "BatchTopKSAE",
        "dictionary_learning",
        trained(MODULES | {"b_dec": B_DEC} | K),
        lambda x: jump(linear(x - B_DEC.double(), W_ENC, B_ENC), 0.5, above),
        {"class": "BatchTopKSAE"},
        {"activation": "jumprelu", "comparison": ">"},
    ),
    Case(
        "BatchTopKSAE, threshold never set",
        "dictionary_learning",
        trained(MODULES | {"b_dec": B_DEC} | NEVER, {"dict_class": "BatchTopKSAE"}),
        lambda x: jump(relu(linear(x - B_DEC.double(), W_ENC, B_ENC)), -1.0, above),
        expected={"activation": "relu"},
    ),
    Case(
        "Matryoshka",
        "dictionary_learning",
        trained(PLAIN | K | GROUPS, {"dict_class": "MatroyshkaBatchTopKSAE", "k": 6, "submodule_name": "blocks.11"}),
        lambda x: jump(linear(x - B_DEC.double(), W_ENC, B_ENC), 0.5, above),
        expected={"layer": ""},  # what the library calls a submodule may be any label
    ),
    Case(
        "JumpReluAutoEncoder",
        "dictionary_learning",
        trained(PLAIN | {"threshold": THRESHOLD}),
        lambda x: jump(linear(x, W_ENC, B_ENC), THRESHOLD.double(), above),
        expected={"pre_bias": None},
    ),
    Case(
        "JumpReluAutoEncoder, b_dec subtracted",
        "dictionary_learning",
        trained(PLAIN | {"threshold": THRESHOLD}),
        lambda x: jump(linear(x - B_DEC.double(), W_ENC, B_ENC), THRESHOLD.double(), above),
        {"apply_b_dec": True},
    ),
    Case(
        "GatedAutoEncoder",
        "dictionary_learning",
        trained({"encoder.weight": WEIGHT, "decoder.weight": W_DEC.T.contiguous()} | GATES),
        lambda x: gated(x - B_DEC.double()),
    ),
]


def prisma_config(**changes):
    return {
        "architecture": "standard",
        "hook_point_layer": 9,
        "layer_subtype": "hook_resid_post",
        "hook_point_head_index": None,
        "activation_fn_str": "relu",
        "activation_fn_kwargs": {},
        "cls_token_only": False,
        "use_patches_only": False,
        "normalize_activations": "layer_norm",
        "is_transcoder": False,
        "dtype": {"__type__": "torch.dtype", "value": "torch.float32"},
    } | changes


def config_object(state, module="vit_prisma.sae.config"):
    """An object of a class of the library, which is not there when the file is read."""
    kind = type("VisionModelSAERunnerConfig", (), {"__module__": module})
    made = kind()
    made.__dict__.update(state)
    return made


def save_with_object(content, path, module="vit_prisma.sae.config"):
    """torch.save of objects whose classes are importable for as long as it takes."""
    made = {}
    names = module.split(".")
    for end in range(1, len(names) + 1):
        made[".".join(names[:end])] = types.ModuleType(".".join(names[:end]))
    kind = type(content["cfg"])
    made[module].VisionModelSAERunnerConfig = kind
    sys.modules.update(made)
    try:
        torch.save(content, path)
    finally:
        for name in made:
            del sys.modules[name]


def prisma(tensors, config, *, with_json=True, with_object=True):
    def write(folder):
        path = folder / "n_images_2600058.pt"
        if with_object:
            save_with_object({"cfg": config_object(config), "state_dict": tensors}, path)
        else:
            torch.save(tensors, path)
        if with_json:
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


VIT_PRISMA = [
    Case(
        "standard",
        "vit_prisma",
        prisma(PLAIN, prisma_config()),
        lambda x: relu(linear(layer_norm(x) - B_DEC.double(), W_ENC, B_ENC)),
        expected={"layer": "blocks.9", "tokens": "all"},
    ),
    Case(
        "state dict alone",
        "vit_prisma",
        prisma(PLAIN, prisma_config(normalize_activations=None, cls_token_only=True), with_object=False),
        lambda x: relu(linear(layer_norm(x) - B_DEC.double(), W_ENC, B_ENC)),
        expected={"tokens": "class"},
    ),
    Case(
        "configuration in the file alone",
        "vit_prisma",
        prisma(PLAIN, prisma_config(normalize_activations="none", use_patches_only=True), with_json=False),
        lambda x: relu(linear(x - B_DEC.double(), W_ENC, B_ENC)),
        expected={"tokens": "patches", "n_prefix": 1},
    ),
    Case(
        "topk",
        "vit_prisma",
        prisma(PLAIN, prisma_config(activation_fn_str="topk", activation_fn_kwargs={"k": 12})),
        lambda x: relu(largest(linear(layer_norm(x) - B_DEC.double(), W_ENC, B_ENC), 12)),
        {"layer": "encoder.layers.encoder_layer_9", "tokens": "patches", "n_prefix": 5},
        {"layer": "encoder.layers.encoder_layer_9", "tokens": "patches", "n_prefix": 5, "order": "topk_relu"},
    ),
    Case(
        "gated",
        "vit_prisma",
        prisma(
            GATED | {"b_enc": B_ENC},
            prisma_config(
                architecture="gated", normalize_activations="constant_norm_rescale", layer_subtype="hook_mlp_out"
            ),
        ),
        lambda x: gated(constant_norm(x) - B_DEC.double()),
        expected={"layer": "blocks.9.mlp"},
    ),
]

CASES = [*SAELENS, *OVERCOMPLETE, *DICTIONARY_LEARNING, *VIT_PRISMA]
