"""How long forward passes take on this card, and the two constants from which the hours of the full study follow."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

from benchmarks import card_hours, harness, throughput
from benchmarks.flops import operations
from benchmarks.gpu import Found, alone
from benchmarks.throughput import EAGER
from interpretability.networks.precision import arithmetic, laid_out, prepared
from study.extraction.written import Written
from study.workers.device import exact

SECONDS = 40
BATCH, IMAGES, STUDIED, UNITS = 256, 1_281_167, 835, 70_000_000
HOURS = {"float16, compiled": 48.0, "TF32, compiled": 80.0}  # of one card
OF_EIGHT = 7.0  # hours of eight cards, in the first of these forms
LEAST, LONG = 3, 0.3  # batches between two looks at the clock, and seconds that a network is timed at least
WARM = 2  # batches before the clock starts
# large and small ones of five families
NETWORKS = (
    "resnet50",
    "resnet152",
    "vit_base_patch16_224",
    "vit_large_patch16_224",
    "convnext_base",
    "regnety_160",
    "xcit_small_12_p16_224",
    "efficientnet_b0",
    "mobilenetv2_100",
)
SMALL = ("test_resnet", "test_vit")
FORMS = ("float32", "tf32", "float16")  # in this order: the last casts weights


def pictures_per_s(model: torch.nn.Module, batch: torch.Tensor, precision: str, long: float) -> float:
    """Of a network that runs again and again on the same batch."""
    cuda = batch.device.type == "cuda"

    def wait() -> None:
        if cuda:
            torch.cuda.synchronize(batch.device)

    with torch.no_grad(), arithmetic(model, precision, batch.device):
        for _ in range(WARM):
            model(batch)
        wait()
        began, batches = time.perf_counter(), 0
        while batches < LEAST or time.perf_counter() - began < long:
            for _ in range(LEAST):
                model(batch)
            batches += LEAST
            wait()
    return batches * len(batch) / (time.perf_counter() - began)


def measured(name: str, device: str, batch: int, long: float) -> tuple[dict[str, float], dict[str, float]]:
    """Operations in 1e9 and activations in 1e6 of a picture, and pictures a second in each precision."""
    import timm

    with torch.device(device):
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval().requires_grad_(False)
    side = int(model.pretrained_cfg["input_size"][-1])  # pyright: ignore[reportArgumentType, reportIndexIssue, reportCallIssue]
    pictures = torch.randn((batch, 3, side, side), device=device)
    with torch.no_grad(), Written() as written:
        model(pictures[:1])
    work = {"gflop": operations(model, (3, side, side)) / 1e9, "mactivations": written.activations / 1e6}
    speeds = {}
    for precision in FORMS:
        laid_out(model, precision, device)
        speeds[precision] = pictures_per_s(prepared(model, precision), pictures, precision, long)
    return work, speeds


def checks(device: str, quick: bool) -> Iterator[Found]:
    """Pictures a second of each network, the constants fitted to them, how far these miss, and hours of all networks.

    Rows of acceptance values 9 and 10. Plain passes are timed alone; what compiled ones take, card_hours infers.
    """
    if device.startswith("cuda"):
        exact(device)  # torch's own float32 runs convolutions in TF32
    there = throughput.cards()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "none"
    card = there[next((card for card, said in card_hours.CARDS.items() if said in name), "H200")]
    rows, speeds = [], []

    def timed(network: str) -> Iterator[Found]:
        work, found = measured(network, device, 2 if quick else BATCH, 0.0 if quick else LONG)
        rows.append(work)
        speeds.append(found)
        for precision, speed in found.items():
            yield f"9 {network}, {precision} {EAGER}", "pictures/s", speed, None, None

    for network in SMALL if quick else NETWORKS:  # constants are of those that ran
        yield from alone(f"9 {network}", timed(network))
        gc.collect()
    networks, known = pd.DataFrame(rows), dict[str, float]()
    for precision in FORMS:
        form = f"{precision} {EAGER}"
        times = 1 / np.array([found[precision] for found in speeds])
        constants = throughput.fitted(throughput.costs(networks, card, precision), times)
        missed = throughput.seconds(networks, card, precision, constants) / times
        worst = float(np.exp(np.abs(np.log(missed)).max()))
        names = f"9 a, {form}", f"9 b, {form}", f"9 largest of predicted over measured, {form}"
        known |= dict(zip(names, (constants.a, constants.b, worst), strict=True))
        for constant in names[:2]:
            yield constant, "", known[constant], None, None
        yield names[2], "", worst, throughput.WITHIN, worst <= throughput.WITHIN
        roster = throughput.counted()
        each = IMAGES * throughput.seconds(roster, card, precision, constants)
        yield f"10 forward passes of {STUDIED} networks, {form}", "hours", STUDIED * each.mean() / 3600, None, None
    yield from hours(card, known)


def hours(card: throughput.Card, known: dict[str, float]) -> Iterator[Found]:
    """Hours of the full study in each form, as benchmarks.card_hours has them from these constants."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(harness.COMMITTED, Path(name) / "results"))
        table = pd.DataFrame({"value": [*known], "measured": [*known.values()], "card": card.name})
        table.to_csv(folder / "gpu.csv", index=False)  # in place of that of an earlier run, or of another card
        with mock.patch.object(harness, "COMMITTED", folder):
            networks = throughput.counted()
            parts = {form: card_hours.parts(form, card, networks, IMAGES, STUDIED, UNITS) for form in card_hours.FORMS}
            lost = card_hours.lost_at_the_end(8)
    for form, found in parts.items():
        total, limit = found.total(1), HOURS.get(form)
        yield f"10 one card, {form}", "hours", total, limit, None if limit is None else total <= limit
    fastest = next(iter(HOURS))
    total = parts[fastest].total(1) / 8 * lost
    yield f"10 eight cards, {fastest}", "hours", total, OF_EIGHT, total <= OF_EIGHT
