"""The guide of open_clip: tiny networks with random weights against a direct computation, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from study.errors import StudyError
from study.explanations import clip, clip_guide, guide
from study.explanations.images import Probing
from study.files.store import WorkStore
from study.images.manifest import open_images
from study.params.explanations import Guide, SecondGuide

CONCEPTS = sorted(["a star", "red shapes", "a house or a tree", "six shapes"])
VISION = {"image_size": 16, "layers": 1, "width": 16, "patch_size": 8, "head_width": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of weights of two tiny networks that open_clip knows by name, one with a sigmoid and one without."""
    folder = tmp_path_factory.mktemp("clip")
    for name, more in (("tiny-sigmoid", {"init_logit_bias": -10, "custom_text": True}), ("tiny-softmax", {})):
        (folder / f"{name}.json").write_text(json.dumps({**TINY, **more}))
    open_clip.add_model_config(folder)
    files = {}
    for name in ("tiny-sigmoid", "tiny-softmax"):
        torch.manual_seed(0)
        state = open_clip.create_model(name).state_dict()
        if name == "tiny-sigmoid":
            state |= {"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor(-1.5)}
        files[name] = folder / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, files[name])
    torch.save(state, folder / "tiny-softmax.pt")
    return files


def settings(model, pretrained, **changes):
    usual = {
        "source": "open_clip",
        "template": "a photo of *",
        "batch_size": 4,
        "calibration": "none",
        "separation": 1.0,
    }
    kind = changes.pop("kind", Guide)
    return kind(**{**usual, "model": model, "pretrained": str(pretrained), **changes})


@pytest.fixture
def images(drawn_study):
    return open_images(drawn_study.folder / "images")


@pytest.fixture
def probing():
    """Every fourth of the 60 images."""
    rows = np.arange(1, 60, 4, dtype=np.int32)
    return Probing(rows, np.arange(len(rows)) % 2 == 0)


def direct(name, file, images, rows):
    """Cosines (concepts, images), scale and bias by the calls that the package documents."""
    network = open_clip.create_model(name, pretrained=str(file)).eval()
    view = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    shown = torch.stack([view(Image.fromarray(images.pixels(int(row)))) for row in rows])
    said = open_clip.get_tokenizer(name)([f"a photo of {concept}" for concept in CONCEPTS])
    with torch.no_grad():
        left, right = network.encode_text(said), network.encode_image(shown)
        cosines = torch.nn.functional.normalize(left, dim=-1) @ torch.nn.functional.normalize(right, dim=-1).T
    return cosines.numpy(), network.logit_scale.exp().item(), network.logit_bias


def test_a_network_with_a_sigmoid_gives_its_own_probabilities(networks, images, probing):
    file = networks["tiny-sigmoid"]
    found, score = clip_guide.guide_of_clip(settings("tiny-sigmoid", file), images, probing, CONCEPTS)
    assert not score
    cosines, scale, bias = direct("tiny-sigmoid", file, images, probing.rows)
    expected = 1 / (1 + np.exp(-(scale * cosines + bias.item())))
    rows = np.stack([found.row(concept) for concept in CONCEPTS])
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert np.ptp(expected, axis=1).min() > 0.001, "the images differ, or nothing was compared"
    assert found.status == "not calibrated"


def test_a_network_without_one_gives_cosines_until_they_are_fitted(networks, images, probing, tmp_path):
    file = networks["tiny-softmax"]
    wanted = settings("tiny-softmax", file, calibration="platt")
    found, score = clip_guide.guide_of_clip(wanted, images, probing, CONCEPTS)
    assert score
    cosines, _, bias = direct("tiny-softmax", file, images, probing.rows)
    assert bias is None
    np.testing.assert_allclose(np.stack([found.raw(concept) for concept in CONCEPTS]), cosines, atol=1e-5)
    paths = images.columns["path"]
    with pytest.raises(StudyError, match="gives cosines and no probabilities"):
        guide.calibrated(found, settings("tiny-softmax", file), tmp_path, probing, paths, score=True)
    # labels that rise with the cosine, with exceptions
    row = found.raw("a star")
    label = (row > np.median(row)).astype(int)
    label[[0, 1]] = 1 - label[[0, 1]]
    lines = [f"a star,{image},{value}" for image, value in zip(probing.rows, label, strict=True)]
    (tmp_path / "gold.csv").write_text("\n".join(["text,image,label", *lines]))
    fitted = guide.calibrated(found, wanted, tmp_path, probing, paths, score=True)
    assert fitted.status == f"platt on {len(label)} gold labels"
    probability = fitted.row("a star")
    assert ((probability > 0) & (probability < 1)).all()
    assert (np.argsort(probability, kind="stable") == np.argsort(row, kind="stable")).all()
    # a logistic regression says the same mean as the labels, but for the counts that pull it inside
    assert probability.mean() == pytest.approx(label.mean(), abs=0.05)


def test_pictures_and_texts_are_embedded_once(networks, images, probing, monkeypatch):
    wanted = settings("tiny-sigmoid", networks["tiny-sigmoid"])
    first, _ = clip_guide.guide_of_clip(wanted, images, probing, CONCEPTS)
    rows = [first.row(concept) for concept in CONCEPTS]

    def fail(*_):
        raise AssertionError("something is computed although all is in the store")

    with monkeypatch.context() as patch:
        patch.setattr(clip, "_network", fail)
        again, _ = clip_guide.guide_of_clip(wanted, images, probing, CONCEPTS)
        np.testing.assert_array_equal(rows, [again.row(concept) for concept in CONCEPTS])
    # more concepts need texts, and no picture; those that were there say the same
    monkeypatch.setattr(clip, "embedded_images", fail)
    more, _ = clip_guide.guide_of_clip(wanted, images, probing, sorted([*CONCEPTS, "a boat"]))
    np.testing.assert_allclose(rows, [more.row(concept) for concept in CONCEPTS], atol=1e-6)


def test_a_cosine_does_not_depend_on_how_many_others_there_are():
    rng = np.random.default_rng(0)
    texts, images = (rng.normal(size=(n, 37)).astype(np.float32) for n in (64, 2100))
    whole = clip_guide.cosines(texts, images)
    np.testing.assert_allclose(whole, texts.astype(float) @ images.astype(float).T, atol=1e-12)
    np.testing.assert_array_equal(clip_guide.cosines(texts[:3], images[:2050]), whole[:3, :2050])


def test_weights_of_another_batch_size_or_file_are_other_embeddings(networks, images):
    plans = [
        clip.plan_of(settings("tiny-sigmoid", networks["tiny-sigmoid"], **changes), images.folder, "")
        for changes in ({}, {"batch_size": 5})
    ]
    plans.append(clip.plan_of(settings("tiny-softmax", networks["tiny-softmax"]), images.folder, ""))
    assert len({json.dumps(plan.ingredients(), sort_keys=True) for plan in plans}) == 3


def test_what_the_guide_costs_is_told_before(networks, images, probing):
    wanted = settings("tiny-sigmoid", networks["tiny-sigmoid"])
    told = clip_guide.forecast(wanted, images, probing, CONCEPTS)
    assert "15 of 15 images and 4 of 4 texts are to be embedded" in told
    assert "pictures/s" in told
    assert "GFLOP a picture" in told
    clip_guide.guide_of_clip(wanted, images, probing, CONCEPTS)
    assert "0 of 15 images and 0 of 4 texts are to be embedded" in clip_guide.forecast(
        wanted, images, probing, CONCEPTS
    )


def test_weights_as_torch_saves_them_are_read_as_data_alone(networks, images, probing):
    saved = networks["tiny-softmax"].with_suffix(".pt")
    found, _ = clip_guide.guide_of_clip(settings("tiny-softmax", saved), images, probing, CONCEPTS[:1])
    cosines, *_ = direct("tiny-softmax", networks["tiny-softmax"], images, probing.rows)
    np.testing.assert_allclose(found.raw(CONCEPTS[0]), cosines[0], atol=1e-5)


class Harmful:
    """What would run code when it is loaded."""

    def __reduce__(self):
        return (print, ("this must not be said",))


def test_weights_that_would_run_code_are_refused(networks, images, probing, tmp_path, capsys):
    torch.save({"logit_scale": Harmful()}, tmp_path / "bad.pt")
    with pytest.raises(StudyError, match="weights"):
        clip_guide.guide_of_clip(settings("tiny-softmax", tmp_path / "bad.pt"), images, probing, CONCEPTS[:1])
    assert "this must not be said" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "pretrained", "told"),
    [
        ("ViT-B-16-SigLIB", "webli", "no model of open_clip; did you mean ViT-B-16-SigLIP"),
        (
            "ViT-B-16-SigLIP",
            "laion",
            "for ViT-B-16-SigLIP open_clip publishes webli, and a file of weights ends with .safetensors",
        ),
        ("ViT-B-16-SigLIP", "gone.safetensors", "gone.safetensors"),
        (
            "ViT-B-16-SigLIP",
            "webly=w.safetensors",
            "names the tag 'webly' before its file; for ViT-B-16-SigLIP there are webli",
        ),
        ("ViT-L-14", "w.safetensors", "put the tag that it was trained as in front, as openai=FILE"),
    ],
)
def test_an_unknown_model_or_file_is_refused(model, pretrained, told, images, tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(StudyError) as caught:
        clip.plan_of(settings(model, pretrained), images.folder, "")
    assert told in str(caught.value)


def test_weights_that_cannot_be_fetched_say_what_to_do(images, monkeypatch):
    def offline(facts):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", offline)
    with pytest.raises(StudyError) as caught:
        clip.plan_of(settings("ViT-B-16-SigLIP", "webli"), images.folder, "")
    assert "the weights webli of ViT-B-16-SigLIP could not be fetched (OSError: no route to host)" in str(caught.value)
    assert "explanations.guide.pretrained" in str(caught.value)
    with pytest.raises(
        StudyError, match=r"in explanations\.second_guide\.pretrained, or set explanations\.second_guide"
    ):
        clip.plan_of(settings("ViT-B-16-SigLIP", "webli", kind=SecondGuide), images.folder, "")


def test_pictures_are_prepared_as_for_the_published_weights(tmp_path, images, monkeypatch):
    """SigLIP takes pictures with another mean than CLIP; weights from a file do not say so themselves."""
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    plan = clip.plan_of(settings("ViT-B-16-SigLIP", "w.safetensors"), images.folder, "")
    assert dict(plan.view) == {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    named = clip.plan_of(settings("ViT-L-14", "openai=w.safetensors"), images.folder, "")
    assert named.quick_gelu
    assert dict(named.view)["resize_mode"] == "shortest"


def test_texts_are_found_by_what_the_network_reads(networks, images):
    plan = clip.plan_of(settings("tiny-sigmoid", networks["tiny-sigmoid"]), images.folder, "")
    other = clip.plan_of(settings("tiny-sigmoid", networks["tiny-sigmoid"], template="a *"), images.folder, "")
    jobs = [
        clip.TextJob(made, WorkStore.open(), {}, said)
        for made, said in ((plan, ("a", "b")), (plan, ("b", "a")), (other, ("a", "b")))
    ]
    assert len({job.key["texts"] for job in jobs}) == 3
