"""`dreamsim` and its single branches: cosine of embeddings tuned to human similarity judgements (Fu et al., 2023).

The ensemble joins DINO, CLIP and OpenCLIP (1,792 numbers, mean-free, length 1). The package's own loader fetches code
beside weights; here its networks are built by the package and filled with tensors, so that nothing fetched is run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.images import Images
from interpretability.networks.network import state_digest
from interpretability.similarity.base import Similarity
from interpretability.similarity.features import (
    check_images,
    compare,
    fill,
    package_loading,
    package_version,
)
from interpretability.similarity.table import in_float32
from interpretability.weights import Weights, WeightsFile, reader

BRANCHES = (
    "dino_vitb16",
    "dinov2_vitb14",
    "dino_vitb16_patch",
    "dinov2_vitb14_patch",
    "clip_vitb32",
    "open_clip_vitb32",
    "synclr_vitb16",
)
VARIANTS = ("dreamsim", *(f"dreamsim-{branch}" for branch in BRANCHES))
# networks that the package takes from hubs of their own; the others lie in its archives
HUBS = {
    "dino_vitb16": WeightsFile(
        (
            "dino_vitbase16_pretrain.pth",
            "checkpoints/dino_vitbase16_pretrain.pth",
            "dino_vitbase16_pretrain.safetensors",
        ),
        "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
    ),
    "dinov2_vitb14": WeightsFile(
        ("checkpoints/dinov2_vitb14_pretrain.pth", "dinov2_vitb14_pretrain.safetensors"),
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    ),
}
ARCHIVED = {
    "clip_vitb16": "clip_vitb16_pretrain.pth.tar",
    "clip_vitb32": "clip_vitb32_pretrain.pth.tar",
    "open_clip_vitb16": "open_clip_vitb16_pretrain.pth.tar",
    "open_clip_vitb32": "open_clip_vitb32_pretrain.pth.tar",
    "synclr_vitb16": "synclr_vit_b_16.pth",
}
_LORA = ("r", "lora_alpha", "lora_dropout", "bias", "target_modules")  # what the package reads of its adapter's file
_SIZE, _SHORT_SIDE = 224, 256
_BATCH, _BATCH_ON_GPU = 20, 256  # images at a time: what fills a GPU would only take memory on a CPU
_UNDER_WAY = 2  # batches on a GPU of which the results are not fetched yet, so that it never waits for the next


def _branch_of(name: str) -> str:
    """What the package calls the branch of a similarity's name."""
    return name.partition("-")[2] or "ensemble"


def files_of(kind: str) -> dict[str, WeightsFile]:
    """Every file of weights of a branch, or of the ensemble, by its role: "config" and "adapter" of the tuning, and the networks
    by their type.
    """
    from dreamsim.config import dreamsim_args, dreamsim_weights

    configs: Any = dreamsim_args["model_config"]
    archive, config = dreamsim_weights[kind], configs[kind]
    networks = config["model_type"].split(",")
    tuned = "patch" if kind.endswith("_patch") else "single"
    folder = "ensemble_lora" if kind == "ensemble" else f"{networks[0]}_{tuned}_lora"
    files = {
        "config": WeightsFile((f"{folder}/adapter_config.json",), archive),
        "adapter": WeightsFile((f"{folder}/adapter_model.safetensors", f"{folder}/adapter_model.bin"), archive),
    }
    for network in networks:
        if network in HUBS:
            files[network] = HUBS[network]
        else:
            name = ARCHIVED[network]
            plain = f"{name.split('.')[0]}.safetensors"
            files[network] = WeightsFile((name, plain), archive)
    return files


class DreamSim(Similarity):
    """Cosine of DreamSim embeddings, in [-1, 1]; the package's distance is one minus it.

    view "crop": the shorter side becomes 256, then the centre square of 224: what people saw in the human experiments.
    view "squash": the whole image becomes 224 x 224, whatever its shape: the package's own preprocessing.
    whole: images are taken whole, as view "squash" does, because they have no border to cut: generated scenes.
    Departure: which of the two views the paper used is not stated.
    """

    runs_network = True
    prepares = True
    batch_size = _BATCH
    published_slope = 6.25  # 1 / 0.16

    def __init__(
        self,
        name: str,
        images: Images,
        *,
        device: str = "cpu",
        weights: Weights = "weights",
        view: str = "crop",
        whole: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(name, images, **options)
        self._device, self._weights_of = device, reader(weights)
        self._view, self._whole = arguments.choice(view, "view", ("crop", "squash")), whole
        self._type = _branch_of(name)
        self.batch_size = self.batch_on(torch.device(device).type)

    @classmethod
    def batch_on(cls, kind: str) -> int:
        return _BATCH if kind == "cpu" else _BATCH_ON_GPU

    @classmethod
    def weights_files(cls, name: str) -> tuple[WeightsFile, ...]:
        return tuple(files_of(_branch_of(name)).values())

    @cached_property
    def files(self) -> dict[str, WeightsFile]:
        """Every file of weights by its role."""
        return files_of(self._type)

    @cached_property
    def _contents(self) -> dict[str, Mapping[str, Any]]:
        return {role: self._weights_of(file) for role, file in self.files.items()}

    @cached_property
    def model(self) -> Any:
        """The package's PerceptualModel with its tuned adapter, in evaluation mode on the device."""
        import dreamsim
        import peft
        from dreamsim.config import dreamsim_args

        contents, device = self._contents, self._device
        with package_loading(
            {"torch.hub.load": self._hub, "torch.hub.set_dir": lambda _: None, "torch.load": self._read}
        ):
            configs: Any = dreamsim_args["model_config"]
            plain = dreamsim.PerceptualModel(**configs[self._type], device=device, load_dir="", normalize_embeds=True)
            lora = peft.LoraConfig(**{key: contents["config"][key] for key in _LORA})
            model = peft.get_peft_model(plain, lora)
        wanted, adapter = peft.get_peft_model_state_dict(model), contents["adapter"]
        wrong = {name for name in wanted.keys() | adapter.keys() if _shape(wanted, name) != _shape(adapter, name)}
        if wrong:
            raise InputError(f"{self.files['adapter'].names[0]} does not fit backend {self.name}: {sorted(wrong)[0]}")
        peft.set_peft_model_state_dict(model, dict(adapter))
        model.eval().requires_grad_(False).to(device)
        return model.base_model.model

    def _hub(self, _: str, network: str) -> nn.Module:
        """A network that the package takes from a hub: its architecture from a package, its weights from the file."""
        state, where = dict(self._contents[network]), self.files[network].names[0]
        if network == "dino_vitb16":
            from dreamsim.feature_extraction.vision_transformer import vit_base

            model: nn.Module = vit_base(patch_size=16)
        else:
            import timm

            # the hub's network scales its position table at every call; here that is done once, for 224 x 224
            model = timm.create_model("vit_base_patch14_dinov2", img_size=_SIZE, num_classes=0)
            state.pop("mask_token", None)
            if "pos_embed" in state:
                state["pos_embed"] = _dinov2_positions(state["pos_embed"], _SIZE // 14)
        fill(model, state, where)
        return model

    def _read(self, path: str, **_: object) -> Mapping[str, object]:
        """What the package reads from a file, from the contents at hand and in the nesting that it expects."""
        name = PurePosixPath(path).name
        if name == "dino_vitb16_pretrain.pth":
            return {"student": _Unused()}
        network = next(network for network, file in ARCHIVED.items() if file == name)
        state = dict(self._contents[network])
        if network == "synclr_vitb16":
            return {"model": {f"module.visual.{key.removeprefix('visual.')}": value for key, value in state.items()}}
        return {"state_dict": state}

    def ingredients(self) -> Mapping[str, object]:
        contents = self._contents
        tensors = {
            f"{role}/{name}": value
            for role, content in contents.items()
            if role != "config"
            for name, value in content.items()
        }
        return {
            "version": 1,
            "weights": state_digest(tensors),
            "view": self._view,
            "lora": {key: contents["config"][key] for key in _LORA},
            "package": package_version("dreamsim"),
            "batch_size": self.batch_size,
            "torch": torch.__version__,
            "generated": self._whole,
            "device": torch.device(self._device).type,
        }

    def prepare(self, row: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bytes (224, 224, 3) of the part of an image that is compared."""
        return np.asarray(self.view(Image.fromarray(pixels), uncut=self.is_uncut(row)))

    def _prepared(self, row: int) -> NDArray[np.uint8]:
        return self.prepare(row, self.images.pixels(row))

    def tensors(self, rows: NDArray[np.integer]) -> Tensor:
        """Images (n, 3, 224, 224) in 0..1 as the networks see them."""
        seen = np.stack([self._prepared(row) for row in rows.tolist()])
        return self._shown(torch.from_numpy(seen))

    def _shown(self, seen: Tensor) -> Tensor:
        """Bytes (n, 224, 224, 3) as `tensors`, which travel as such; from pinned memory without waiting."""
        return seen.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float() / 255

    def view(self, image: Image.Image, *, uncut: bool = False) -> Image.Image:
        """The part of an image that is compared; generated scenes have no border to cut and are taken whole, as is one that is
        `uncut`.
        """
        if self._view == "squash" or self._whole or uncut:
            return image.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
        short = min(image.size)
        width, height = (side * _SHORT_SIDE // short for side in image.size)
        left, top = round((width - _SIZE) / 2), round((height - _SIZE) / 2)
        return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + _SIZE, top + _SIZE))

    def embed(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        return np.concatenate([*self.embed_parts(rows)])

    def embed_parts(
        self, rows: NDArray[np.integer], prepared: Callable[[int], NDArray[np.uint8]] | None = None
    ) -> Iterator[NDArray[np.floating]]:
        prepared = prepared or self._prepared
        rooms, size = self._rooms(), self.batch_size
        under_way: deque[_Room] = deque()
        for start in range(0, len(rows), size):
            room, part = rooms[0], rows[start : start + size]
            rooms.rotate(-1)
            for place, row in enumerate(part.tolist()):
                room.seen[place] = prepared(row)
            # a short batch is filled up, so that every image goes through the same kernels
            room.seen[len(part) :] = room.seen[np.arange(len(part), size) % len(part)]
            self.forwards += len(part)
            room.start(len(part), self.embed_images(self._shown(torch.from_numpy(room.seen))).float())
            under_way.append(room)
            if len(under_way) == len(rooms):
                yield under_way.popleft().embeddings()
        while under_way:
            yield under_way.popleft().embeddings()

    def _rooms(self) -> deque[_Room]:
        if torch.device(self._device).type == "cuda":
            return deque(_Room(self.batch_size, pinned=True) for _ in range(_UNDER_WAY + 1))
        return deque([_Room(self.batch_size)])

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Embeddings (n, D) of images; patch variants join the class token and the mean of the others."""
        with in_float32(self._device):
            rows = self.model.embed(images)
        return torch.cat([rows[:, 0], rows[:, 1:].mean(dim=1)], dim=1) if self.model.is_patch else rows

    @torch.no_grad()
    def check(self) -> None:
        """Compare pairs with the package's own call. Raises InputError if the two no longer agree."""
        images = check_images(_SIZE, 0, 1)[:2].to(self._device)
        rows = nn.functional.normalize(self.embed_images(images), dim=1).cpu().double()
        ours = (rows[[0, 0]] * rows[[0, 1]]).sum(1).numpy()
        with in_float32(self._device):
            theirs = 1 - self.model(images[[0, 0]], images[[0, 1]]).cpu().double().numpy()
        compare(self.name, "dreamsim", ours, theirs)


class _Room:
    """Room for the bytes of a batch, and for what became of it; both are used again once `embeddings` has been asked for.

    On a GPU both are pinned: bytes and embeddings travel while the caller is at the next batch.
    """

    def __init__(self, size: int, *, pinned: bool = False) -> None:
        # the array holds the memory of the tensor
        self.seen: NDArray[np.uint8] = torch.empty(
            (size, _SIZE, _SIZE, 3), dtype=torch.uint8, pin_memory=pinned
        ).numpy()
        self._count, self._found = 0, torch.empty(0)
        self._done = torch.cuda.Event() if pinned else None

    def start(self, count: int, embeddings: Tensor) -> None:
        """Fetch the embeddings of the first images."""
        self._count = count
        if self._done is None:
            self._found = embeddings
            return
        if self._found.shape != embeddings.shape:
            self._found = torch.empty(embeddings.shape, pin_memory=True)
        self._found.copy_(embeddings, non_blocking=True)
        with torch.cuda.device_of(embeddings):  # an event joins the stream of the device in use, whatever was copied
            self._done.record()

    def embeddings(self) -> NDArray[np.float32]:
        """Embeddings (count, D), once they are there."""
        if self._done is not None:
            self._done.synchronize()
        return self._found[: self._count].numpy().copy()


class _Unused(dict[str, Tensor]):
    """Stands for the projection head of DINO, which the package loads although it reads the class token before it."""

    def __missing__(self, name: str) -> Tensor:
        return torch.zeros(0)


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _dinov2_positions(table: Tensor, side: int) -> Tensor:
    """The position table (1, 1 + M^2, D) of DINOv2 scaled to side x side patches, as its own code does at every call."""
    grid = round((table.shape[1] - 1) ** 0.5)
    if grid == side:
        return table
    patches = table[:, 1:].float().reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    scale = (side + 0.1) / grid  # its offset against rounding errors, part of what the network was released with
    scaled = nn.functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic", antialias=False)
    return torch.cat([table[:, :1], scaled.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)


SIMILARITY = DreamSim
