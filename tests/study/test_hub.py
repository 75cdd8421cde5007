"""Weights of hubs: kept ones are used, missing ones are told with file, folder and address, and what they leave is keyed."""

from __future__ import annotations

import json
import urllib.error

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from interpretability.errors import InputError
from interpretability.networks.network import initialised
from study.networks import building, hub
from tests.study.test_networks import EMPTY, opened

HUB = huggingface_hub.constants


@pytest.fixture
def code(tmp_path):
    return tmp_path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(HUB, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    hub.unreachable.cache_clear()
    yield tmp_path / "cache"
    hub.unreachable.cache_clear()


def refused(code, **row):
    with pytest.raises(InputError) as caught:
        opened(code, weights="hub", preprocessing="", **row)
    return str(caught.value)


def no_answer(request, timeout):
    raise urllib.error.URLError(OSError(-2, "Name or service not known"))


@pytest.mark.parametrize("offline", [True, False])
def test_missing_weights_of_hugging_face_are_told_with_file_folder_and_address(code, cache, monkeypatch, offline):
    monkeypatch.setattr(HUB, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(hub.urllib.request, "urlopen", no_answer)
    told = refused(code, constructor="test_resnet")
    reason = "HF_HUB_OFFLINE is set" if offline else "does not answer: [Errno -2] Name or service not known"
    assert told.startswith("net: the weights of test_resnet could not be fetched from their hub (")
    for part in (
        reason,
        f"model.safetensors would come from {HUB.ENDPOINT}/timm/test_resnet.r160_in1k",
        f"be kept in {cache}/models--timm--test_resnet.r160_in1k",
        "Connect once (they stay in the cache folder, HF_HOME or TORCH_HOME)",
        "or download the file and write its path and sha256 into the roster",
    ):
        assert part in told
    assert offline == HUB.HF_HUB_OFFLINE, "left as it was"


def test_missing_weights_of_torchvision_are_told_before_any_wait(code, cache, monkeypatch):
    monkeypatch.setattr(hub.urllib.request, "urlopen", no_answer)
    told = refused(code, constructor="shufflenet_v2_x1_0")
    assert "shufflenetv2_x1-5666bf0f80.pth would come from https://download.pytorch.org/models/shufflenetv2" in told
    assert f"kept in {cache.parent}/torch/checkpoints" in told


def test_an_unreachable_hub_is_asked_once(code, cache, monkeypatch):
    asked = []

    def urlopen(request, timeout):
        asked.append((request.full_url, timeout))
        return no_answer(request, timeout)

    monkeypatch.setattr(HUB, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.urllib.request, "urlopen", urlopen)
    for constructor in ("test_resnet", "test_vit", "test_convnext"):
        refused(code, constructor=constructor)
    assert asked == [(HUB.ENDPOINT, hub._TIMEOUT)]
    assert hub._TIMEOUT <= 10


@pytest.mark.parametrize(
    "answer",
    [urllib.error.HTTPError("https://hub", 403, "", {}, None), urllib.error.URLError(hub.ssl.SSLError("own roots"))],
)
def test_an_answer_of_any_kind_is_one(cache, monkeypatch, answer):
    def urlopen(request, timeout):
        raise answer

    monkeypatch.setattr(hub.urllib.request, "urlopen", urlopen)
    assert hub.unreachable("https://hub") == ""


@pytest.mark.parametrize("error", [OSError("half a file"), RuntimeError("another hash")])
def test_what_a_hub_answers_instead_of_weights_is_told(code, cache, monkeypatch, error):
    def refuse(name, pretrained=False, **kwargs):
        assert pretrained
        raise error

    monkeypatch.setattr(timm, "create_model", refuse)
    assert f"could not be fetched from their hub ({error}). model.safetensors would" in refused(
        code, constructor="test_resnet"
    )


@pytest.mark.parametrize("constructor", ["botnet50ts_256", "efficientnet_b6"])
def test_a_network_without_weights_on_a_hub_is_told(code, cache, constructor):
    assert f"net: there are no weights of {constructor} on a hub" in refused(code, constructor=constructor)


def test_what_a_checkpoint_does_not_fill_is_drawn_by_seed_and_name(code, tmp_path):
    save_file(timm.create_model("test_vit", num_classes=1000).state_dict(), tmp_path / "w.safetensors")
    kwargs = {
        "num_classes": 7,
        "pretrained_cfg_overlay": {"file": str(tmp_path / "w.safetensors"), "num_classes": 1000},
    }
    row = {**EMPTY, "name": "net", "constructor": "test_vit", "kwargs": json.dumps(kwargs), "weights": "hub"}

    def built(seed, name="net"):
        torch.manual_seed(torch.seed())  # every process stands elsewhere
        model = building.build_network(row, code, None, lambda make: initialised(make, seed, name))
        return model.head.weight, model.blocks[0].attn.qkv.weight

    head, body = built(0)
    again, same_body = built(0)
    other, other_body = built(1)
    assert torch.equal(head, again)
    assert not torch.equal(head, other)
    assert torch.equal(body, same_body)
    assert torch.equal(body, other_body)


def test_a_hub_that_gives_other_weights_than_before_is_told(code, tmp_path):
    save_file(timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / "w.safetensors")
    kwargs = json.dumps(
        {"num_classes": 5, "pretrained_cfg_overlay": {"file": str(tmp_path / "w.safetensors"), "num_classes": 5}}
    )
    row = {"constructor": "test_vit", "kwargs": kwargs, "weights": "hub"}
    digest = opened(code, **row).digest
    assert opened(code, **row, sha256=digest).digest == digest
    save_file(timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"net: its weights are not those that the stage `models` saw \(hub\)"):
        opened(code, **row, sha256=digest)
