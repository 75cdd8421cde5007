"""Pictures a second and core: the study's way from JPEG files to a network's input, beside bare decoding and ImageFolder.

    python -m benchmarks.loading [--files 1000] [--rounds 5] [--batch 50] [--images FOLDER] [--folder FOLDER]

One thread, files in the page cache, every form on all files in turn:

raw_torchvision   read a file, torchvision.io.decode_jpeg
raw_pillow        read a file, decode it with Pillow
image_folder      torchvision's ImageFolder with Resize, CenterCrop, ToTensor and Normalize on Pillow pictures, put into
                  batches by a DataLoader without processes of its own
decoded           ImageSet.pixels: read, compare the digest with the manifest, decode
fed               the same, resized, cropped and put into a batch as bytes: what travels to a GPU, which normalises it
ours              that, normalised as well: what a network on a CPU gets

Without --images the files are photo-like JPEGs of about 500 x 375 pixels and 92 to 110 KB, drawn from keyed generators:
clouds of all sizes, and grain. A folder of real photographs (one folder a label) is taken as it is, its JPEGs only.
Results are compared: equal pixels from every decoder, and inputs within two grey levels of those of ImageFolder (both resize
in two passes and round after each). Pictures rotated by their EXIF are left out there.

A second table counts decodings while the stage `activations` runs M networks in one pass: every picture once, but for the
first few, on which each network is traced.

A third table is about a GPU whose networks of one pass see a picture in several views. A core decodes a picture and resizes it
for each view; 16 cores do so beside each other, but for what needs Python's one lock: `python_us`, measured on pictures of 24
pixels whose resizing is left out, is at most that. `fed` is what 16 cores then give, `wanted` what 8 networks of one pass take
at the harmonic mean rate that is modelled for an H200 in half precision (RATE each), and `waits` the share of a pass in which
they would wait for pictures.

Expected on 1 core: `share_of_raw` and `cpu_ratio` of `ours` as in results/loading.csv; the aims are 0.75 and 2.5.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ratios, report, take_turns, timed
from interpretability.randomness import generator
from study.images import manifest
from study.images.feed import Feed, ImageRows
from study.images.manifest import ImageSet, open_images
from study.images.packs import Pack, pack_files_here

ROOT = Path(__file__).resolve().parent.parent
SEED = 0
SHAPES = ((375, 500), (375, 500), (375, 500), (500, 375), (333, 500))  # height and width, taken in turn
QUALITY = 92  # of the JPEGs; with the grain below most take 92 to 110 KB
GRAIN = (15.0, 19.0)  # standard deviation of the noise on single pixels, in grey levels
RESIZE, CROP = 256, 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETWORKS = ("test_resnet", "test_vit", "test_efficientnet")  # of timm: a few layers each
VIEWS = (1, 2, 4, 8)  # of a pass
CORES, SHARING, RATE = (
    16,
    8,
    8400.0,
)  # cores beside a GPU, networks of a pass, and pictures a second of one network alone
SMALL = 24  # pixels of the sides of pictures of which nothing but Python takes time
LABELS = 10
LEVELS = 2  # by which inputs may differ, out of 255


def photograph(number: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Picture (height, width, 3) that compresses and decodes like a photograph: clouds of halving size and contrast, grain."""
    import torch

    draw = generator(SEED, "benchmark", "photograph", number)
    height, width = shape
    light = torch.zeros((1, 3, height, width))
    for octave in range(2, 9):
        across = 2**octave
        noise = draw.standard_normal((1, 3 if octave < 7 else 1, max(2, across * height // width), across), np.float32)
        cloud = torch.nn.functional.interpolate(torch.from_numpy(noise), size=shape, mode="bilinear")
        light += cloud / 2**octave
    light = 120 + 55 * light / light.std()
    grain = draw.standard_normal(shape, dtype=np.float32) * np.float32(draw.uniform(*GRAIN))
    return (light[0].permute(1, 2, 0).numpy() + grain[..., None]).clip(0, 255).astype(np.uint8)


def write_photographs(folder: Path, count: int, shape: tuple[int, int] | None = None) -> None:
    """JPEG files in LABELS folders, of one shape or of SHAPES in turn."""
    from PIL import Image

    for number in range(count):
        buffer = io.BytesIO()
        picture = photograph(number, shape or SHAPES[number % len(SHAPES)])
        Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
        path = folder / f"label{number % LABELS}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())


@contextmanager
def environment(values: Mapping[str, str]) -> Generator[None]:
    """The machine knobs of the stages, set for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_params(path: Path, images: Path) -> None:
    """Parameters for a folder of pictures, however few."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "studies/custom.yaml").read_text())
    content["images"] |= {"source": "folder", "root": str(images), "max_rejected": 1.0}
    content["activations"] |= {"keep": [], "windows": [], "batch_size": 16, "n_extremes": 8}
    content["tasks"] |= {"n_tasks": 2, "n_explanations": 3, "conditions": ["natural"]}
    content["sensitivity"] |= {"n_tasks": [2], "n_explanations": [3]}
    with path.open("w") as file:
        yaml.dump(content, file)


def described(images: Path, folder: Path) -> ImageSet:
    """The out of the stage `images` for a folder of pictures, made in `folder`."""
    from stages import images as stage

    write_params(folder / "params.yaml", images)
    with environment({"MIS_WORKERS": "1", "MIS_DEVICE": "cpu", "MIS_IMAGES": str(images)}):
        stage.main(["--params", str(folder / "params.yaml"), "--out", str(folder / "images")])
    return open_images(folder / "images", str(images), quick=True)


@dataclass(frozen=True)
class Chosen:
    """Some rows of a set of pictures."""

    source: ImageRows
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return self.source.pixels(self.rows[row])

    def path(self, row: int) -> str:
        return self.source.path(self.rows[row])


class Forms:
    """The six forms over some rows of an image set; each returns nothing and keeps nothing. The pack lies in `store`."""

    def __init__(self, images: ImageSet, root: Path, files: int, batch: int, store: Path) -> None:
        from torch.utils.data import DataLoader, Subset
        from torchvision import transforms
        from torchvision.datasets import ImageFolder
        from torchvision.transforms import InterpolationMode

        from interpretability.networks.preprocessing import Preprocessing

        self.images, self.root, self.batch = images, root, batch
        paths = images.manifest["path"].tolist()
        jpegs = [row for row, path in enumerate(paths) if path.lower().endswith((".jpg", ".jpeg"))]
        self.rows = jpegs[:: max(1, len(jpegs) // files)][:files]
        self.paths = [str(root / paths[row]) for row in self.rows]
        self.prepare = Preprocessing(CROP, RESIZE, MEAN, STD)
        steps = [
            transforms.Resize(RESIZE, InterpolationMode.BICUBIC),
            transforms.CenterCrop(CROP),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
        self.folder = ImageFolder(str(root), transforms.Compose(steps))
        place = {path: number for number, (path, _) in enumerate(self.folder.samples)}
        self.places = [place[path] for path in self.paths]
        self.loader = DataLoader(Subset(self.folder, self.places), batch)
        with environment({"MIS_STORE": str(store)}):
            self.pack = Pack(images, pack_files_here(images, RESIZE))

    def raw_torchvision(self) -> None:
        for path in self.paths:
            torchvision_pixels(path)

    def raw_pillow(self) -> None:
        for path in self.paths:
            pillow_pixels(path)

    def image_folder(self) -> None:
        for _ in self.loader:
            pass

    def decoded(self) -> None:
        for row in self.rows:
            self.images.pixels(row)

    def fed(self) -> None:
        self._feed(self.images, normalise=False)

    def ours(self) -> None:
        self._feed(self.images)

    def packed(self) -> None:
        self._feed(self.pack)

    def _feed(self, source: ImageRows, *, normalise: bool = True) -> None:
        for _, views in Feed(Chosen(source, self.rows), [self.prepare], self.batch, "cpu"):
            if normalise:
                self.prepare.normalised(views[self.prepare])

    def named(self) -> dict[str, Callable[[], object]]:
        forms = (
            self.raw_torchvision,
            self.raw_pillow,
            self.image_folder,
            self.decoded,
            self.fed,
            self.ours,
            self.packed,
        )
        return {form.__name__: form for form in forms}

    def check(self) -> tuple[float, float]:
        """Largest and mean difference from ImageFolder's inputs in grey levels; raises where a decoder or an input differs
        more than LEVELS.
        """
        worst, means, std = 0.0, [], np.array(STD).reshape(3, 1, 1) * 255
        for row, path, place in zip(self.rows, self.paths, self.places, strict=True):
            pixels, plain = self.images.pixels(row), pillow_pixels(path)
            if pixels.shape != plain.shape or not np.array_equal(pixels, plain):
                continue  # rotated by its EXIF
            if np.abs(pixels.astype(int) - torchvision_pixels(path)).max() > 1:
                raise AssertionError(f"{path}: Pillow and torchvision decode other pixels")
            levels = np.abs(self.prepare.batch([pixels])[0].numpy() - self.folder[place][0].numpy()) * std
            worst = max(worst, float(levels.max()))
            means.append(float(levels.mean()))
            if worst > LEVELS + 0.01:
                raise AssertionError(f"{path}: the input of a network is {worst:.2f} grey levels from ImageFolder's")
        return worst, float(np.mean(means))


def torchvision_pixels(path: str) -> NDArray[np.uint8]:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    decoded: Any = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)  # a tensor, for one file is no list of them
    return decoded.permute(1, 2, 0).numpy()


def pillow_pixels(path: str) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def measure(forms: Forms, rounds: int) -> list[dict[str, object]]:
    """Rows of the first table: rates, and processor time against bare decoding and against ImageFolder."""
    most, mean = forms.check()
    named = forms.named()
    turns = [take_turns(named, turn) for turn in range(rounds)]
    times = {name: [turn[name] for turn in turns] for name in named}
    size = float(np.mean([os.path.getsize(path) for path in forms.paths]))
    rows = []
    for name, taken in times.items():
        passed, used = np.median(taken, axis=0)
        raw = ratios(times["raw_torchvision"], taken)["cpu_ratio"]
        row: dict[str, object] = {
            "case": name,
            "files": len(forms.rows),
            "mean_kb": size / 1e3,
            "images_per_s": len(forms.rows) / passed,
            "images_per_cpu_s": len(forms.rows) / used,
            "share_of_raw": raw,
            **ratios(times["image_folder"], taken),
            "levels_most": most if name == "ours" else np.nan,
            "levels_mean": mean if name == "ours" else np.nan,
        }
        rows.append(row)
    return rows


def decodings(images: Path, folder: Path, networks: tuple[str, ...]) -> dict[str, object]:
    """Row of the second table: how often pictures were decoded while the stage `activations` ran networks in one pass."""
    from stages import activations, models

    image_set = described(images, folder)
    roster = folder / "roster.csv"
    with roster.open("w", newline="") as file:
        csv.writer(file).writerows([("name", "constructor", "weights"), *((name, name, "none") for name in networks)])
    flags = [
        "--params",
        str(folder / "params.yaml"),
        "--images",
        str(folder / "images"),
        "--code",
        str(ROOT / "data/external/code"),
    ]
    knobs = {
        "MIS_WORKERS": "1",
        "MIS_DEVICE": "cpu",
        "MIS_DECODERS": "0",
        "MIS_NETWORKS_PER_PASS": str(len(networks)),
        "MIS_STORE": str(folder / "store"),
        "MIS_IMAGES": str(images),
    }
    with environment(knobs):
        models.main([*flags, "--roster", str(roster), "--out", str(folder / "models")])
        with counted_decodings() as found:
            activations.main([*flags, "--models", str(folder / "models"), "--out", str(folder / "activations")])
    digests = image_set.manifest["digest"].tolist()
    copies = Counter(digests)
    counts = np.array([found[digest] / copies[digest] for digest in digests])
    traced = np.flatnonzero(counts != 1)
    if (counts < 1).any() or (len(traced) and traced.max() >= _TRACED):
        raise AssertionError(f"pictures {traced.tolist()} were decoded {counts[traced].tolist()} times, not once")
    return {
        "networks": len(networks),
        "images": len(digests),
        "decodings": int(counts.sum()),
        "decoded_once": int((counts == 1).sum()),
        "unshared": len(networks) * len(digests),
    }


def feeding(images: ImageSet, small: ImageSet, rounds: int) -> list[dict[str, object]]:
    """Rows of the third table, from photographs and from pictures of SMALL pixels."""
    from interpretability.networks.preprocessing import Preprocessing

    def used(source: ImageSet, crop: int, resize: int, n_views: int) -> float:
        """Seconds of processor time a picture in one thread."""
        views = [Preprocessing(crop, resize + 2 * number, MEAN, STD) for number in range(n_views)]
        taken = [timed(lambda: [None for _ in Feed(source, views, 50, "cpu")])[1] for _ in range(rounds)]
        return float(np.median(taken)) / len(source)

    rows = []
    for n_views in VIEWS:
        whole = used(images, CROP, RESIZE, n_views)
        with resized_at_once():
            python = used(small, SMALL // 2, SMALL + 1, n_views)
        fed, wanted = min(CORES / whole, 1 / python), RATE / SHARING
        row: dict[str, object] = {
            "views": n_views,
            "images_per_cpu_s": 1 / whole,
            "python_us": 1e6 * python,
            "fed": fed,
            "wanted": wanted,
            "core_share": wanted * whole / CORES,
            "python_share": wanted * python,
            "waits": max(0.0, 1 - fed / wanted),
        }
        rows.append(row)
    return rows


@contextmanager
def resized_at_once() -> Generator[None]:
    """Resizing takes no time, but gives nothing of use."""
    import torch

    from interpretability.networks import preprocessing

    nothing = torch.zeros((1, 3, 2 * SMALL, 2 * SMALL), dtype=torch.uint8)
    plain = preprocessing.RESAMPLING
    setattr(preprocessing, "RESAMPLING", dict.fromkeys(plain, lambda *_: nothing))  # noqa: B010 - of another type
    try:
        yield
    finally:
        preprocessing.RESAMPLING = plain


_TRACED = 4  # first pictures of a set, on which networks are traced


@contextmanager
def counted_decodings() -> Generator[Counter[str]]:
    """Counts calls of the pipeline's decoders by the sha256 of what is decoded; one that calls the other counts once."""
    counts: Counter[str] = Counter()
    inside = False

    def counting(decode: Callable[..., NDArray[np.uint8]]) -> Callable[..., NDArray[np.uint8]]:
        def counted(content: bytes, *colour: str) -> NDArray[np.uint8]:
            nonlocal inside
            if inside:
                return decode(content, *colour)
            counts[hashlib.sha256(content).hexdigest()] += 1
            inside = True
            try:
                return decode(content, *colour)
            finally:
                inside = False

        return counted

    names = ("decode", "decode_quickly")
    plain = {name: getattr(manifest, name) for name in names}
    for name in names:
        setattr(manifest, name, counting(plain[name]))
    try:
        yield counts
    finally:
        for name in names:
            setattr(manifest, name, plain[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("files", 1000), ("rounds", 5), ("batch", 50)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--images", type=Path, help="folder of photographs instead of the synthesised ones")
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes; about 0.1 GB")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        root = args.images.resolve() if args.images else folder / "photographs"
        if not args.images:
            write_photographs(root, args.files)
        rows = measure(Forms(described(root, folder), root, args.files, args.batch, folder), args.rounds)
        few = folder / "few"
        write_photographs(few / "photographs", min(args.files, 200))
        shared = decodings(few / "photographs", few, NETWORKS)
        write_photographs(few / "small", min(args.files, 200), (SMALL, SMALL))
        (few / "described").mkdir()
        small = described(few / "small", few / "described")
        views = feeding(described(few / "photographs", few), small, args.rounds)
    source = "photographs" if args.images else "synthesised photographs"
    report("loading", f"Pictures a second, one thread, {source}", rows)
    report("loading_shared", "Decodings while several networks share one pass", [shared])
    report("loading_views", "Pictures a second for networks that share a pass but not a view", views)


if __name__ == "__main__":
    main()
