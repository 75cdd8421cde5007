"""Autoencoders of other libraries that cannot be converted exactly are refused by name, with what to do."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from interpretability.errors import InputError
from study.networks.foreign_codes.options import Options
from tests.helpers.foreign_codes import (
    B_DEC,
    BIAS,
    DICTIONARY,
    GATED,
    LATENTS,
    LINEAR,
    MODULES,
    PLAIN,
    THRESHOLD,
    W_DEC,
    W_ENC,
    WIDTH,
    K,
    config_object,
    pickled,
    prisma,
    prisma_config,
    saelens,
    save_with_object,
    trained,
    v5,
    v6,
)
from tools.convert_code import KINDS, OPTIONS

ENCODER = {"class": "TopKSAE", "k": 4}
NORM_OF_LAYERS = {"encoder.final_block.1.weight": BIAS, "encoder.final_block.1.bias": BIAS}
MORE = {"encoder.mlp_blocks.0.0.weight": torch.ones(WIDTH, WIDTH)}
TOPK = MODULES | {"b_dec": B_DEC} | K


def saelens_of(**changes):
    return saelens(PLAIN, v6(**changes))


def prisma_of(**changes):
    return prisma(PLAIN, prisma_config(**changes), with_object=False)


def without(tensors, *names):
    return {name: value for name, value in tensors.items() if name not in names}


REFUSED = {
    "a scaling factor that no file holds": (
        "saelens",
        saelens_of(normalize_activations="expected_average_only_in"),
        {},
        ["cfg.json", "expected_average_only_in", "--factor"],
    ),
    "the same of early versions": (
        "saelens",
        saelens(PLAIN, v5(normalize_activations=True)),
        {},
        ["expected_average_only_in", "--factor"],
    ),
    "whitening": (
        "saelens",
        saelens_of(normalize_activations="covariance_whitening"),
        {"factor": 2.0},
        ["covariance_whitening", "fold_activation_whitening"],
    ),
    "another scaling": (
        "saelens",
        saelens_of(normalize_activations="batch"),
        {},
        ["normalize_activations is 'batch'", "layer_norm", "constant_norm_rescale"],
    ),
    "a factor that is none": (
        "saelens",
        saelens_of(normalize_activations="expected_average_only_in"),
        {"factor": -2.0},
        ["factor is -2.0", "above 0"],
    ),
    "another architecture": (
        "saelens",
        saelens_of(architecture="matching_pursuit"),
        {},
        ["architecture is matching_pursuit", "standard, topk, jumprelu, gated"],
    ),
    "a state of training": (
        "saelens",
        saelens_of(architecture="batchtopk", k=3.5),
        {},
        ["batchtopk", "save_inference_model"],
    ),
    "another activation": (
        "saelens",
        saelens(PLAIN, v5(activation_fn_str="tanh-relu")),
        {},
        ["activation_fn is tanh-relu", "relu"],
    ),
    "no k": ("saelens", saelens_of(architecture="topk"), {}, ["needs k", "activation_fn_kwargs.k"]),
    "half a k": ("saelens", saelens_of(architecture="topk", k=3.5), {}, ["k is 3.5", "whole number"]),
    "more than there are": (
        "saelens",
        saelens_of(architecture="topk", k=LATENTS + 1),
        {},
        [f"k is {LATENTS + 1}", f"1 to {LATENTS}"],
    ),
    "heads side by side": (
        "saelens",
        saelens_of(reshape_activations="hook_z", metadata={"hook_name": "blocks.3.attn.hook_z"}),
        {},
        ["blocks.3.attn.hook_z", "heads"],
    ),
    "heads by the name of the hook": (
        "saelens",
        saelens(PLAIN, v5(hook_name="blocks.3.attn.hook_z")),
        {},
        ["hook_z", "heads"],
    ),
    "one head": (
        "saelens",
        saelens_of(metadata={"hook_name": "blocks.3.attn.hook_q", "hook_head_index": 2}),
        {},
        ["hook_head_index is 2", "head"],
    ),
    "no threshold": (
        "saelens",
        saelens_of(architecture="jumprelu"),
        {},
        ["lacks the tensor threshold", "W_dec, W_enc, b_dec, b_enc"],
    ),
    "tensors of another kind": (
        "saelens",
        saelens(PLAIN | {"threshold": THRESHOLD}, v6()),
        {},
        ["an autoencoder of SAELens (standard) has no tensor threshold"],
    ),
    "sizes that differ": (
        "saelens",
        saelens(PLAIN | {"b_enc": torch.ones(LATENTS - 1)}, v6()),
        {},
        ["W_enc has shape (12, 20)", "(12, 19)"],
    ),
    "whole numbers": (
        "saelens",
        saelens(PLAIN | {"b_dec": torch.ones(WIDTH, dtype=torch.int64)}, v6()),
        {},
        ["b_dec holds torch.int64", "floating"],
    ),
    "a flag that is none": (
        "saelens",
        saelens_of(apply_b_dec_to_input="yes"),
        {},
        ["apply_b_dec_to_input is 'yes'", "true or false"],
    ),
    "a value that is not finite": (
        "saelens",
        saelens(PLAIN | {"W_enc": W_ENC / torch.tensor([1.0] * 3 + [0.0] + [1.0] * 16)}, v6()),
        {},
        ["encoder holds", "at [3, 0]", "finite"],
    ),
    "an option that says nothing": ("saelens", saelens_of(), {"k": 3}, ["--k says nothing about this file"]),
    "batches without their threshold": (
        "overcomplete",
        pickled(LINEAR | DICTIONARY),
        {"class": "BatchTopKSAE"},
        ["running_threshold", "--threshold"],
    ),
    "classes with the same tensors": (
        "overcomplete",
        pickled(LINEAR | DICTIONARY),
        {},
        ["SAE, TopKSAE and BatchTopKSAE", "--class"],
    ),
    "a class without its k": ("overcomplete", pickled(LINEAR | DICTIONARY), {"class": "TopKSAE"}, ["top_k", "--k"]),
    "a class without its thresholds": (
        "overcomplete",
        pickled(LINEAR | DICTIONARY),
        {"class": "JumpSAE"},
        ["does not hold the tensor thresholds", "--class JumpSAE is wrong"],
    ),
    "another class": (
        "overcomplete",
        pickled(LINEAR | DICTIONARY),
        {"class": "NMF"},
        ["class NMF is not converted", "TopKSAE"],
    ),
    "a quantised code": ("overcomplete", pickled(LINEAR | DICTIONARY | {"Q": W_DEC}), {"class": "SAE"}, ["QSAE"]),
    "two linear maps": (
        "overcomplete",
        pickled(LINEAR | MORE | DICTIONARY),
        ENCODER,
        ["more than one linear map", "encoder.mlp_blocks.0.0.weight"],
    ),
    "an encoder of one's own": (
        "overcomplete",
        pickled({"encoder.conv.weight": torch.ones(3, 3, 1, 1)} | DICTIONARY),
        ENCODER,
        ["more than one linear map", "encoder.conv.weight"],
    ),
    "a norm of layers": (
        "overcomplete",
        pickled(LINEAR | NORM_OF_LAYERS | DICTIONARY),
        ENCODER,
        ["layer norm", "cannot be folded"],
    ),
    "a pursuit": ("overcomplete", pickled(DICTIONARY), ENCODER, ["holds no encoder", "pursuit"]),
    "a multiplier beyond float32": (
        "overcomplete",
        pickled(LINEAR | DICTIONARY | {"dictionary.multiplier": torch.tensor(100.0)}),
        ENCODER,
        ["dictionary.multiplier is 100", "-80 and 80"],
    ),
    "something else": (
        "overcomplete",
        pickled({"conv1.weight": torch.ones(3, 3)}),
        ENCODER,
        ["is not an autoencoder of overcomplete", "conv1.weight"],
    ),
    "k or batches": (
        "dictionary_learning",
        trained(TOPK),
        {},
        ["AutoEncoderTopK and of BatchTopKSAE", "config.json", "--class"],
    ),
    "two words on the class": (
        "dictionary_learning",
        trained(TOPK, {"dict_class": "BatchTopKSAE"}),
        {"class": "AutoEncoderTopK"},
        ["dict_class is BatchTopKSAE", "--class is AutoEncoderTopK"],
    ),
    "a class that is not known": (
        "dictionary_learning",
        trained(TOPK, {"dict_class": "CrossCoder"}),
        {},
        ["class CrossCoder is not converted", "GatedAutoEncoder"],
    ),
    "two words on k": (
        "dictionary_learning",
        trained(TOPK, {"dict_class": "AutoEncoderTopK", "k": 7}),
        {},
        ["tensor k is 6 and trainer.k is 7"],
    ),
    "no k anywhere": (
        "dictionary_learning",
        trained(MODULES | {"b_dec": B_DEC}),
        {"class": "AutoEncoderTopK"},
        ["--k"],
    ),
    "no threshold anywhere": (
        "dictionary_learning",
        trained(MODULES | {"b_dec": B_DEC}),
        {"class": "BatchTopKSAE"},
        ["holds no threshold", "--threshold"],
    ),
    "two words on the threshold": (
        "dictionary_learning",
        trained(TOPK),
        {"class": "BatchTopKSAE", "threshold": 0.75},
        ["threshold is 0.5", "--threshold is 0.75"],
    ),
    "a threshold that is not a number": (
        "dictionary_learning",
        trained(MODULES | {"b_dec": B_DEC, "threshold": torch.tensor(float("nan"))}),
        {"class": "BatchTopKSAE"},
        ["threshold holds nan at [0]"],
    ),
    "a backup": (
        "dictionary_learning",
        trained({"step": 5, "ae": TOPK, "optimizer": {"state": {}}, "config": {}, "norm_factor": torch.tensor(3.0)}),
        {},
        ["backup", "norm_factor", "ae.pt"],
    ),
    "another table": (
        "dictionary_learning",
        trained({"weight": W_ENC}),
        {},
        ["is not a dictionary of dictionary_learning", "weight"],
    ),
    "a config of a list": (
        "dictionary_learning",
        lambda folder: [
            trained(TOPK)(folder),
            (folder / "config.json").write_text(json.dumps({"trainer": [1]})),
        ][0],
        {},
        ["trainer is [1]", "table of settings"],
    ),
    "a transcoder": ("vit_prisma", prisma_of(is_transcoder=True), {}, ["is_transcoder", "another"]),
    "an architecture without code": (
        "vit_prisma",
        prisma_of(architecture="jumprelu"),
        {},
        ["architecture is jumprelu"],
    ),
    "tanh": ("vit_prisma", prisma_of(activation_fn_str="tanh-relu"), {}, ["activation_fn_str is tanh-relu"]),
    "no k of an activation": (
        "vit_prisma",
        prisma_of(activation_fn_str="topk"),
        {},
        ["activation_fn_kwargs.k is not there"],
    ),
    "a head of an attention": (
        "vit_prisma",
        prisma_of(hook_point_head_index=0),
        {},
        ["hook_point_head_index is 0", "head"],
    ),
    "two words on tokens": (
        "vit_prisma",
        prisma_of(cls_token_only=True, use_patches_only=True),
        {},
        ["cls_token_only and use_patches_only"],
    ),
    "no config": (
        "vit_prisma",
        lambda folder: pickled(PLAIN, "n_images_1.pt")(folder),
        {},
        ["no config.json"],
    ),
    "gates that are missing": (
        "vit_prisma",
        prisma(without(GATED, "r_mag"), prisma_config(architecture="gated"), with_object=False),
        {},
        ["lacks the tensor r_mag", "b_gate"],
    ),
}


def refused(kind, write, options, folder):
    with pytest.raises(InputError) as error:
        KINDS[kind](write(folder), Options(dict.fromkeys(OPTIONS) | options))
    text = str(error.value)
    assert text.isprintable()
    return text


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(name, tmp_path):
    kind, write, options, parts = REFUSED[name]
    text = refused(kind, write, options, tmp_path)
    for part in parts:
        assert part in text, text


class WholeModel(torch.nn.Linear):
    """As overcomplete's tests and examples save: the module itself."""


def test_whole_modules_are_refused_with_the_way_to_a_state_dict(tmp_path):
    torch.save(WholeModel(2, 3), tmp_path / "model.pth")
    text = refused("overcomplete", lambda folder: folder / "model.pth", ENCODER, tmp_path)
    assert "WholeModel" in text
    assert "state_dict()" in text


class Calls:
    """A pickle that would run something."""

    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize(("call", "arguments"), [(eval, ("1/0",)), (os.system, ("false",))])
def test_objects_that_are_not_of_the_library_are_not_taken_apart(call, arguments, tmp_path):
    torch.save({"cfg": Calls(call, *arguments), "state_dict": PLAIN}, tmp_path / "n_images_1.pt")
    text = refused("vit_prisma", lambda folder: folder, {}, tmp_path)
    assert call.__name__ in text
    assert "state_dict()" in text


def test_names_that_only_look_like_the_library_are_not_taken_apart(tmp_path):
    content = {"cfg": config_object(prisma_config(), "vit_prisma_x.sae"), "state_dict": PLAIN}
    save_with_object(content, tmp_path / "n_images_1.pt", "vit_prisma_x.sae")
    assert "vit_prisma_x.sae" in refused("vit_prisma", lambda folder: folder, {}, tmp_path)


def test_a_folder_or_file_that_is_not_there(tmp_path):
    assert "does not exist" in refused("saelens", lambda folder: folder / "nothing", {}, tmp_path)
    (tmp_path / "readme.md").write_text("")
    text = refused("dictionary_learning", lambda folder: folder, {}, tmp_path)
    assert "ae.pt" in text
    assert "readme.md" in text


def test_several_files_are_not_chosen_from(tmp_path):
    for number in (1, 2):
        torch.save(PLAIN, tmp_path / f"n_images_{number}.pt")
    assert "n_images_1.pt, n_images_2.pt; name one" in refused("vit_prisma", lambda folder: folder, {}, tmp_path)


def test_weights_of_saelens_without_their_config(tmp_path):
    save_file({"W_enc": W_ENC}, tmp_path / "sae_weights.safetensors")
    assert "no cfg.json" in refused("saelens", lambda folder: folder, {}, tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, '{"a": ' * 50_000])
def test_a_config_that_is_no_table(text, tmp_path):
    save_file({"W_enc": W_ENC}, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(text)
    assert "cfg.json" in refused("saelens", lambda folder: folder, {}, tmp_path)
