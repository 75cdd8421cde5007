"""The recipe A3 of "ResNet strikes back" (Wightman, Touvron and Jegou, 2021), made of timm's own parts.

The MIS paper trains its ResNet-50 by it (section 4.3). What is fixed here are the arguments of timm's training script under
which A3 was published; the rest are keys of `models.training.a3`. Repeated augmentation, label smoothing, stochastic depth,
dropout, random erasing and an average of weights are no part of A3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from study.params.models import A3

if TYPE_CHECKING:
    from PIL.Image import Image
    from timm.data.mixup import Mixup
    from timm.scheduler.scheduler import Scheduler
    from torch import Tensor, nn
    from torch.optim import Optimizer

VERSION = 2  # raised by hand whenever the weights of a network trained by a recipe change


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All arguments of a training; rates are those of a batch of `rate_batch` images and scale with the batch.

    Departure: the share `held_out` of the images is not trained on, because accuracy is measured on it; the paper has
    ImageNet's validation set for that.
    """

    epochs: int = 100
    warmup_epochs: int = 5
    batch_size: int = 2048
    learning_rate: float = 0.008
    train_size: int = 160
    test_size: int = 224
    held_out: float = 0.04

    rate_batch: int = 2048
    optimizer: str = "lamb"
    weight_decay: float = 0.02
    schedule: str = "cosine"
    warmup_rate: float = 1e-4
    least_rate: float = 1e-6
    target_threshold: float = 0.2
    smoothing: float = 0.0
    mixup: float = 0.1
    cutmix: float = 1.0
    mix_probability: float = 1.0
    switch_probability: float = 0.5
    mix_mode: str = "batch"
    augmentation: str = "rand-m6-mstd0.5-inc1"
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    train_interpolation: str = "random"
    interpolation: str = "bicubic"
    crop_share: float = 0.95

    @classmethod
    def of(cls, keys: A3) -> Recipe:
        """The recipe with what `models.training.a3` says."""
        own = {name: value for name, value in asdict(keys).items() if name not in ("first_epoch", "every")}
        return cls(**own)

    @property
    def rate(self) -> float:
        """Peak of the learning rate for this batch."""
        return self._scaled(self.learning_rate)

    def _scaled(self, rate: float) -> float:
        return rate * self.batch_size / self.rate_batch

    def optimiser(self, model: nn.Module) -> Optimizer:
        """LAMB; biases and scales of norms are not decayed, as timm's script has it."""
        from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]

        return create_optimizer_v2(model, opt=self.optimizer, lr=self.rate, weight_decay=self.weight_decay)

    def scheduler(self, optimiser: Optimizer) -> Scheduler:
        """Rates by epoch: a linear warm-up, then half a cosine; `step(epoch)` sets those of an epoch, counted from 0.

        First and last rate scale with the batch as the peak does: in a small batch it could else be below the first.
        """
        from timm.scheduler.scheduler_factory import create_scheduler_v2

        scheduler, _ = create_scheduler_v2(
            optimiser,
            sched=self.schedule,
            num_epochs=self.epochs,
            warmup_epochs=self.warmup_epochs,
            warmup_lr=self._scaled(self.warmup_rate),
            min_lr=self._scaled(self.least_rate),
        )
        assert scheduler is not None
        return scheduler

    def loss(self) -> nn.Module:
        """Binary cross entropy of logits (images, classes); a class is shown where its mixed target is above the threshold."""
        from timm.loss.binary_cross_entropy import BinaryCrossEntropy

        return BinaryCrossEntropy(smoothing=self.smoothing, target_threshold=self.target_threshold)

    def mixing(self, n_classes: int) -> Mixup:
        """Mixup or CutMix of a batch of images with itself in reversed order; draws from numpy's global generator."""
        from timm.data.mixup import Mixup

        return Mixup(
            mixup_alpha=self.mixup,
            cutmix_alpha=self.cutmix,
            prob=self.mix_probability,
            switch_prob=self.switch_probability,
            mode=self.mix_mode,
            label_smoothing=self.smoothing,
            num_classes=n_classes,
        )

    def augmenting(self) -> Callable[[Image], Tensor]:
        """From a picture to bytes (3, train_size, train_size), altered at random; draws from global generators."""
        from timm.data.transforms_factory import create_transform

        transform: Any = create_transform(
            input_size=self.train_size,
            is_training=True,
            scale=self.area,
            ratio=self.ratio,
            hflip=self.flip,
            auto_augment=self.augmentation,
            interpolation=self.train_interpolation,
            use_prefetcher=True,  # bytes: they are normalised on the device
        )
        return transform

    def preprocessing(self) -> dict[str, Any]:
        """What the trained network is shown: the centre of a picture, resized as timm does it."""
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        return {
            "crop": self.test_size,
            "resize": math.floor(self.test_size / self.crop_share),
            "interpolation": self.interpolation,
            "mean": list(IMAGENET_DEFAULT_MEAN),
            "std": list(IMAGENET_DEFAULT_STD),
        }
