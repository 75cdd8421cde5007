"""Random weights in the form of the files that similarity packages fetch, and pictures to compare with them."""

import contextlib
import functools
from unittest import mock

import numpy as np
import torch
import torchvision

from interpretability.networks.network import Network
from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import generator, key64
from interpretability.similarity import registry
from interpretability.synthetic.draws import draw_factors

RANK, WIDTH = 4, 48  # of the adapter, and of the small transformers that stand for ViT-B
N = 20  # pictures: what DreamSim sees at a time


def pictures(size=64, n=N, seed=0):
    """Smooth random pictures (n, size, size, 3); the last one is a copy of the first."""
    noise = torch.from_numpy(generator(seed, "test pictures").random((n, 3, 7, 7)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(noise, size=(size, size), mode="bicubic").clamp(0, 1)
    made = (smooth * 255).byte().permute(0, 2, 3, 1).numpy().copy()
    made[-1] = made[0]
    return made


def drawn(state, name):
    """Random tensors of the same names and shapes, of a size that keeps deep networks alive."""
    source = torch.Generator().manual_seed(key64("test weights", name) >> 1)
    found = {}
    for key, value in state.items():
        noise = torch.randn(value.shape, generator=source)
        if value.ndim == 4 and value[0].numel() > 1:
            found[key] = noise * (2 / value[0].numel()) ** 0.5
        elif key.endswith(("norm1.weight", "norm2.weight", "norm.weight", "pos_drop.weight", "gamma")):
            found[key] = 1 + 0.1 * noise
        else:
            found[key] = noise * (value.shape[-1] ** -0.5 if value.ndim == 2 else 0.05)
    return found


@contextlib.contextmanager
def undrawn():
    """Inside, networks are built without drawing their first weights, which takes longer than to fill them."""
    with contextlib.ExitStack() as stack:
        for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_"):
            stack.enter_context(mock.patch.object(torch.nn.init, name, lambda tensor, *_, **__: tensor))
        yield


@functools.cache
def trunk(name):
    """The file of a network of torchvision; the large layers of its classifier, which no similarity uses, are zeros."""
    with torch.device("meta"):
        state = getattr(torchvision.models, name)(weights=None).state_dict()
    unused = {key for key, value in state.items() if key.startswith("classifier") and value.numel() > 2**20}
    found = drawn({key: value for key, value in state.items() if key not in unused}, name)
    return found | {key: torch.zeros(1).expand(state[key].shape) for key in unused}


def transformer(name):
    import timm
    from dreamsim.feature_extraction import vision_transformer

    if "dinov2" in name:
        plain = timm.create_model("vit_base_patch14_dinov2", img_size=112, num_classes=0)
        return {**drawn(plain.state_dict(), name), "mask_token": torch.zeros(1, WIDTH)}
    plain = vision_transformer.vit_base(patch_size=32 if "32" in name else 16)
    if "clip" not in name:
        return drawn(plain.state_dict(), name)
    plain.pos_drop = torch.nn.LayerNorm(plain.embed_dim)
    return {**drawn(plain.state_dict(), name), "proj": drawn({"proj": torch.empty(plain.embed_dim, 32)}, name)["proj"]}


def adapter(name):
    count, width = 3 if "ensemble" in name else 1, transformer_width()
    found = {}
    for place in range(12 * count):
        prefix = f"base_model.model.extractor_list.{place // 12}.model.blocks.{place % 12}.attn.qkv.lora_"
        shapes = {"A.weight": torch.empty(RANK, width), "B.weight": torch.empty(3 * width, RANK)}
        found |= {prefix + key: value for key, value in drawn(shapes, f"{name} {place}").items()}
    return found


def transformer_width():
    from dreamsim.feature_extraction import vision_transformer

    return vision_transformer.vit_base().embed_dim


def weights(file):
    """The content of a WeightsFile, drawn from the file's name."""
    name = file.names[0]
    for start, network in (("alexnet", "alexnet"), ("vgg16", "vgg16"), ("squeezenet", "squeezenet1_1")):
        if name.startswith(start):
            return trunk(network)
    if name.startswith("dists"):
        both = torch.rand(2, 1475, generator=torch.Generator().manual_seed(0))
        both /= both.sum()
        return {"alpha": both[0].view(1, -1, 1, 1), "beta": both[1].view(1, -1, 1, 1)}
    if name.endswith(".json"):
        return {"r": RANK, "lora_alpha": 0.5, "lora_dropout": 0.3, "bias": "none", "target_modules": ["qkv"]}
    return adapter(name) if "adapter_model" in name else transformer(name)


def small_transformers(monkeypatch):
    """Let the packages build transformers of 48 numbers a token: the same code in a fiftieth of the time."""
    import timm
    from dreamsim.feature_extraction import (
        load_clip_as_dino,
        load_open_clip_as_dino,
        load_synclr_as_dino,
        vision_transformer,
    )

    base, create = vision_transformer.VisionTransformer, timm.create_model
    for module in (vision_transformer, load_clip_as_dino, load_open_clip_as_dino, load_synclr_as_dino):
        monkeypatch.setattr(
            module,
            "vit_base",
            lambda patch_size=16: base(patch_size=patch_size, embed_dim=WIDTH, num_heads=3, qkv_bias=True),
        )
    changes = {"vit_base_patch14_dinov2": {"embed_dim": WIDTH, "num_heads": 3}}
    monkeypatch.setattr(timm, "create_model", lambda name, **kwargs: create(name, **kwargs, **changes.get(name, {})))


def encoder_network():
    import timm

    model = timm.create_model("test_resnet", num_classes=0)
    model.load_state_dict(
        drawn(model.state_dict(), "encoder")
        | {key: value for key, value in model.state_dict().items() if "running" in key or "num_batches" in key}
    )
    return Network("encoder", model.eval(), Preprocessing(64, 64, (0.5,) * 3, (0.5,) * 3), "0")


class Shown:
    """Images by row, from a sequence of pixels."""

    def __init__(self, shown):
        self._shown = shown

    def __len__(self):
        return len(self._shown)

    def pixels(self, row):
        return self._shown[row]


def options(**changes):
    """Options of every family: random weights, pictures of 64 pixels seen whole, and the factors of as many scenes."""
    defaults = {
        "seed": 0,
        "factors": draw_factors(N, seed=0, stream="study", n_categories=6),
        "network": encoder_network,
        "device": "cpu",
        "weights": weights,
        "size": 64,
        "whole": True,
    }
    return defaults | changes


def opened(name, shown=None, check=True, **changes):
    """A similarity of pictures (by default `pictures()`) with those of `options(**changes)` that its family has."""
    kept = registry.options_of(registry.family_of(name))
    found = {key: value for key, value in options(**changes).items() if key in kept}
    with undrawn():
        made = registry.create(name, Shown(pictures() if shown is None else shown), check=check, **found)
        if check:
            getattr(made, "model", None)  # built while the small networks are in place
    return made
