"""The recipe A3, piece by piece, against the arguments of timm's training script under which it was published.

The table is written from the publication (ResNet strikes back, table 2) and the argument lists of its authors, never from our
class: `timm/train.py --opt lamb --lr 8e-3 ...` for a batch of 2,048.
"""

from __future__ import annotations

import math
from argparse import Namespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment
from timm.data.transforms import RandomResizedCropAndInterpolation
from timm.optim import Lamb, create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler_factory import scheduler_kwargs
from torchvision.transforms import RandomHorizontalFlip

from interpretability.networks.preprocessing import Preprocessing
from study.networks.recipes.a3 import Recipe
from study.params.whole import load_params
from tests.helpers.rules import ROOT

PUBLISHED = Namespace(
    opt="lamb",
    lr=8e-3,
    weight_decay=0.02,
    momentum=0.9,
    sched="cosine",
    epochs=100,
    warmup_epochs=5,
    warmup_lr=1e-4,
    min_lr=1e-6,
    cooldown_epochs=0,
    batch_size=2048,
    bce_loss=True,
    bce_target_thresh=0.2,
    smoothing=0.0,
    mixup=0.1,
    cutmix=1.0,
    mixup_prob=1.0,
    mixup_switch_prob=0.5,
    mixup_mode="batch",
    aa="rand-m6-mstd0.5-inc1",
    input_size=160,
    scale=(0.08, 1.0),
    ratio=(0.75, 4 / 3),
    hflip=0.5,
    train_interpolation="random",
    test_size=224,
    crop_pct=0.95,
)


@pytest.fixture(scope="module")
def model():
    return timm.create_model("test_resnet", num_classes=4)


def test_the_study_of_training_has_the_published_recipe():
    training = load_params(ROOT / "studies/training.yaml").models.training
    assert training.recipe == "a3"
    recipe = Recipe.of(training.a3)
    assert recipe == Recipe()
    assert (recipe.epochs, recipe.warmup_epochs) == (PUBLISHED.epochs, PUBLISHED.warmup_epochs)
    assert (recipe.batch_size, recipe.learning_rate) == (PUBLISHED.batch_size, PUBLISHED.lr)
    assert (recipe.train_size, recipe.test_size) == (PUBLISHED.input_size, PUBLISHED.test_size)


def test_the_optimiser_is_that_of_the_script(model):
    own, wanted = Recipe().optimiser(model), create_optimizer_v2(model, **optimizer_kwargs(PUBLISHED))
    assert type(own) is type(wanted) is Lamb
    assert own.defaults == wanted.defaults
    for mine, theirs in zip(own.param_groups, wanted.param_groups, strict=True):
        assert [id(value) for value in mine.pop("params")] == [id(value) for value in theirs.pop("params")]
        assert mine == theirs
    # nothing but weights of layers is decayed
    decays = {
        id(value): group["weight_decay"]
        for group in Recipe().optimiser(model).param_groups
        for value in group["params"]
    }
    assert all(decays[id(value)] == (0.02 if value.ndim > 1 else 0.0) for value in model.parameters())
    assert own.defaults["max_grad_norm"] == 1.0


@pytest.mark.parametrize(("batch", "rate"), [(2048, 0.008), (512, 0.002), (4096, 0.016), (16, 6.25e-5)])
def test_all_learning_rates_scale_with_the_batch(model, batch, rate):
    first, least = 1e-4 * batch / 2048, 1e-6 * batch / 2048
    recipe = Recipe(batch_size=batch)
    optimiser = recipe.optimiser(model)
    scheduler, theirs = (
        recipe.scheduler(optimiser),
        create_optimizer_v2(model, **{**optimizer_kwargs(PUBLISHED), "lr": rate}),
    )
    published = {**scheduler_kwargs(PUBLISHED), "warmup_lr": first, "min_lr": least}
    wanted, epochs = create_scheduler_v2(theirs, **published)
    assert epochs == 100
    for epoch in range(100):
        scheduler.step(epoch)
        wanted.step(epoch)
        (now,) = {group["lr"] for group in optimiser.param_groups}
        warming, falling = (
            first + epoch / 5 * (rate - first),
            least + (rate - least) * (1 + math.cos(math.pi * epoch / 100)) / 2,
        )
        assert now == pytest.approx(warming if epoch < 5 else falling, rel=1e-12)
        assert now == theirs.param_groups[0]["lr"]


def test_the_loss_is_of_classes_that_mixing_leaves_above_the_threshold():
    targets = torch.tensor([[0.8, 0.2, 0.0], [0.21, 0.0, 0.79]], dtype=torch.float64)
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 1.0, -2.0]], dtype=torch.float64)
    shown = np.array([[1, 0, 0], [1, 0, 1]])
    found = logits.numpy()
    by_hand = np.mean(shown * np.log1p(np.exp(-found)) + (1 - shown) * np.log1p(np.exp(found)))
    assert float(Recipe().loss()(logits, targets)) == pytest.approx(by_hand, rel=1e-12)


def test_batches_are_mixed_as_the_script_mixes_them():
    mixing = Recipe().mixing(7)
    assert (mixing.mixup_alpha, mixing.cutmix_alpha, mixing.cutmix_minmax) == (PUBLISHED.mixup, PUBLISHED.cutmix, None)
    assert (mixing.mix_prob, mixing.switch_prob) == (PUBLISHED.mixup_prob, PUBLISHED.mixup_switch_prob)
    assert (mixing.mode, mixing.label_smoothing, mixing.num_classes) == (PUBLISHED.mixup_mode, PUBLISHED.smoothing, 7)
    assert mixing.correct_lam


def test_pictures_are_altered_by_the_script_s_transforms_and_no_others():
    crop, flip, randomly, to_bytes = Recipe().augmenting().transforms
    assert isinstance(crop, RandomResizedCropAndInterpolation)
    assert (crop.size, tuple(crop.scale)) == ((160, 160), PUBLISHED.scale)
    assert tuple(crop.ratio) == pytest.approx(PUBLISHED.ratio)
    assert len(crop.interpolation) == 2  # bilinear or bicubic, at random
    assert isinstance(flip, RandomHorizontalFlip)
    assert flip.p == PUBLISHED.hflip
    assert isinstance(randomly, RandAugment)
    assert randomly.num_layers == 2
    assert {(op.magnitude, op.magnitude_std, op.prob) for op in randomly.ops} == {(6, 0.5, 0.5)}
    # inc1: the set in which a larger magnitude always means more
    assert "PosterizeIncreasing" in {op.name for op in randomly.ops}
    assert "Posterize" not in {op.name for op in randomly.ops}
    altered = to_bytes(Image.new("RGB", (160, 160)))
    assert (altered.dtype, tuple(altered.shape)) == (torch.uint8, (3, 160, 160))


def test_the_trained_network_is_shown_the_crop_of_the_script(model):
    data = timm.data.resolve_data_config(
        {"input_size": (3, 224, 224), "crop_pct": 0.95, "interpolation": "bicubic"},
        pretrained_cfg=timm.create_model("resnet50").pretrained_cfg,
    )
    transform = timm.data.create_transform(**data)
    view = Preprocessing.parse(Recipe().preprocessing(), "net")
    assert transform.transforms[0].size == view.resize == 235
    assert view.crop == 224
    assert (view.mean, view.std) == (data["mean"], data["std"])
