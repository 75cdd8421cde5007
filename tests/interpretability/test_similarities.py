"""One menu for every similarity and variant, and agreement of the fast forms with the packages' own calls."""

import functools
import importlib
import sys

import numpy as np
import pytest
import torch
from scipy.special import expit

from benchmarks.similarities import doubled
from interpretability.errors import InputError
from interpretability.margins import aggregated_margins, unit_rows
from interpretability.similarity import features, registry
from interpretability.similarity.backends import dists, dreamsim
from interpretability.similarity.roots import root
from tests.helpers import random_weights as given
from tests.helpers.rules import ROOT

VARIANTS = [
    name
    for family in registry.families()
    for name in importlib.import_module(f"interpretability.similarity.backends.{family}").VARIANTS
]
FEATURES = [name for name in VARIANTS if name.startswith(("lpips", "dists"))]
DREAMSIM = [name for name in VARIANTS if name.startswith("dreamsim")]
REALDATA = ROOT.parent / "shared/realdata"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    given.small_transformers(monkeypatch)


def some_tasks(units=2, n_tasks=2, k=3, n=given.N - 1, seed=0):
    rng = np.random.default_rng(seed)
    size = n_tasks * 2 * (k + 1)
    return np.stack([rng.permutation(n)[:size].reshape(n_tasks, -1) for _ in range(units)]).astype(np.int32)


def solve(backend, tasks, k):
    """Margins as the pipeline computes them: all pictures embedded once, or features of those in the tasks."""
    if not backend.embeds:
        return backend.margins(tasks, k, None)
    return backend.margins(tasks, k, embedded(backend))


@functools.cache
def embedded(backend):
    """Unit rows of all pictures."""
    return unit_rows(backend.embed(np.arange(given.N)))


@functools.cache
def all_features(backend):
    """Features of all pictures."""
    return backend.features(backend.tensors(np.arange(given.N)))


@functools.cache
def made(name):
    """One similarity of each name, for tests that only ask it."""
    return given.opened(name)


def like(name, **changes):
    """One of other options that shares its network with `made(name)`: to build and to fill VGG16 takes longest."""
    found = given.opened(name, check=False, **changes)
    found.model = made(name).model
    return found


def task(*images):
    return np.array([[images]], dtype=np.int32)


# ---- the menu


@pytest.fixture(scope="module", params=VARIANTS)
def backend(request):
    with pytest.MonkeyPatch.context() as patch:
        given.small_transformers(patch)
        return made(request.param)


def test_margins_have_shape_type_and_range(backend):
    tasks = some_tasks()
    margins = solve(backend, tasks, 3)
    assert margins.shape == (2, 2)
    assert margins.dtype == np.float32
    assert np.isfinite(margins).all()
    assert np.abs(margins).max() <= 4


def test_a_picture_is_most_like_itself(backend):
    # explanations a and b, queries a and b: s(a,a) - s(a,b) - s(b,a) + s(b,b) >= 0
    for a, b in [(0, 1), (2, 3), (4, 9)]:
        assert solve(backend, task(a, b, a, b), 1)[0, 0] > 0
        assert solve(backend, task(a, b, b, a), 1)[0, 0] < 0


def test_similarities_are_symmetric(backend):
    # s(b,a) - s(b,c) - s(d,a) + s(d,c) with the roles of queries and explanations exchanged
    one, other = (solve(backend, built, 1)[0, 0] for built in (task(1, 2, 3, 4), task(3, 4, 1, 2)))
    assert one == pytest.approx(other, abs=1e-6)


def test_equal_sides_or_equal_queries_tie(backend):
    assert solve(backend, task(5, 5, 6, 7), 1)[0, 0] == 0
    assert solve(backend, task(5, 8, 6, 6), 1)[0, 0] == 0


def test_margins_are_those_of_all_similarities(backend):
    tasks = some_tasks()
    every = backend.similarities(tasks, 3, embedded(backend) if backend.embeds else None)
    assert every.shape == (2, 2, 2, 6)
    assert every.dtype == np.float32
    assert aggregated_margins(every, "mean") == pytest.approx(solve(backend, tasks, 3), rel=2e-4, abs=2e-5)


def test_copies_of_a_picture_count_as_the_picture(backend):
    if backend.name == "oracle":
        pytest.skip("sees factors, not pictures")
    last = given.N - 1  # a copy of picture 0
    assert solve(backend, task(last, 0, 6, 7), 1)[0, 0] == 0
    np.testing.assert_array_equal(solve(backend, task(last, 1, 6, 7), 1), solve(backend, task(0, 1, 6, 7), 1))


def test_units_together_or_alone_give_the_same(backend):
    tasks = some_tasks(units=3)
    together = solve(backend, tasks, 3)
    alone = np.concatenate([solve(backend, tasks[[unit]], 3) for unit in (2, 0, 1)])[[1, 2, 0]]
    np.testing.assert_array_equal(together, alone)


def test_ingredients_can_be_stored(backend):
    import json

    assert "null" not in json.dumps(dict(backend.ingredients()))


@pytest.mark.parametrize("name", VARIANTS)
def test_rows_and_pairs_at_hand_are_compared_without_a_network(name):
    def none(*_):
        pytest.fail("weights were asked for")

    judge = given.opened(name, check=False, weights=none, network=none)
    tasks, rng = some_tasks(), np.random.default_rng(0)
    if judge.embeds:
        rows = unit_rows(rng.normal(size=(given.N, 5)).astype(np.float32))
        pairs = rows @ rows.T
    else:
        rows = pairs = features.mirrored(rng.normal(size=(given.N, given.N)).astype(np.float32))
    margins = judge.margins(tasks, 3, rows)
    for found, (*images, positive, negative) in zip(margins.ravel(), tasks.reshape(-1, 8), strict=True):
        side = pairs[positive, images] - pairs[negative, images]
        assert found == pytest.approx(side[:3].mean() - side[3:].mean(), abs=1e-5)


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match="lpips-squeeze"):
        given.opened("lpips-resnet")


# ---- agreement with the packages


def pairwise_margins(compare, seen, tasks, k):
    """Margins from every pair, one call of the package a task; `compare` gives similarities of pairs."""
    out = np.empty(tasks.shape[:2])
    for place in np.ndindex(*out.shape):
        explanations, queries = np.tile(tasks[place][: 2 * k], 2), tasks[place][2 * k :].repeat(2 * k)
        values = compare(seen[queries], seen[explanations]).double().numpy().reshape(2, 2 * k)
        delta = values[:, :k].mean(axis=1) - values[:, k:].mean(axis=1)
        out[place] = delta[0] - delta[1]
    return out


@pytest.mark.parametrize("name", FEATURES)
def test_margins_are_those_of_pairwise_calls(name):
    # maps of VGG16 are large in double precision; the smallest picture still has all layers
    backend = made(name) if name in ("lpips-alex", "lpips-squeeze") else like(name, size=32)
    tasks = some_tasks(units=1, n_tasks=1)  # 12 pairs, each twice through the whole network
    margins = backend.margins(tasks, 3)
    seen = backend.tensors(np.arange(given.N))
    with torch.no_grad():
        single = pairwise_margins(lambda x, y: -backend.model(x, y), seen, tasks, 3)
        model = doubled(backend.model)
        double = pairwise_margins(lambda x, y: -model(x, y), seen.double(), tasks, 3)
    np.testing.assert_allclose(margins, single, atol=1e-6)
    np.testing.assert_allclose(margins, double, atol=1e-6)
    assert np.abs(double).max() > 1e-4


@pytest.mark.parametrize("name", DREAMSIM)
def test_dreamsim_is_the_packages_own(name):
    backend = made(name)
    tasks = some_tasks(units=1, n_tasks=1)
    rows = embedded(backend)
    seen = backend.tensors(np.arange(given.N))
    with torch.no_grad():
        expected = pairwise_margins(lambda x, y: 1 - backend.model(x, y), seen, tasks, 3)
    # halves round each number by up to 2^-12 of it; over the few numbers and tasks here that hardly averages out
    for precision, tolerance in (("float32", 1e-6), ("float16", 2e-4)):
        margins = backend.margins(tasks, 3, rows.astype(precision)).astype(np.float64)
        mis = expit(6.25 * margins).mean(axis=1)
        np.testing.assert_allclose(mis, expit(6.25 * expected).mean(axis=1), atol=tolerance)
    assert np.abs(expected).max() > 1e-3
    assert backend.published_slope == 6.25


def test_dreamsim_offers_what_the_package_offers():
    from dreamsim.config import dreamsim_weights

    assert set(dreamsim.BRANCHES) | {"ensemble"} == set(dreamsim_weights)


def test_dreamsim_sees_the_crop_or_the_whole_picture():
    from torchvision import transforms

    from PIL import Image  # isort: skip

    wide = np.random.default_rng(0).integers(0, 256, (300, 500, 3)).astype(np.uint8)
    bicubic = transforms.InterpolationMode.BICUBIC
    squash = transforms.Compose([transforms.Resize((224, 224), interpolation=bicubic), transforms.ToTensor()])
    crop = transforms.Compose(
        [transforms.Resize(256, interpolation=bicubic), transforms.CenterCrop(224), transforms.ToTensor()]
    )
    for view, expected in (("squash", squash), ("crop", crop)):
        seen = given.opened("dreamsim-clip_vitb32", [wide], check=False, view=view, whole=False)
        made = seen.tensors(np.array([0]))
        np.testing.assert_allclose(made[0].numpy(), expected(Image.fromarray(wide)).numpy(), atol=1e-7)


@pytest.mark.parametrize("name", ["lpips-squeeze", "dists", "dreamsim-clip_vitb32"])
def test_another_upstream_version_is_noticed(name, monkeypatch):
    if name == "lpips-squeeze":
        module = sys.modules["lpips.lpips"]  # the attribute of that name is the package itself
        monkeypatch.setattr(module, "spatial_average", lambda maps, keepdim: maps.amax([2, 3], keepdim=keepdim))
    elif name == "dists":
        monkeypatch.setattr("piq.perceptual.similarity_map", lambda x, y, constant: x * y + constant)
    else:
        monkeypatch.setattr(
            "dreamsim.PerceptualModel.forward", lambda self, x, y: (self.embed(x) - self.embed(y)).norm(dim=1)
        )
    with pytest.raises(InputError, match=r"requirements\.lock"):
        given.opened(name)


def test_heads_with_negative_weights_are_refused():
    backend = given.opened("lpips-alex")
    backend.model.lins[0].model[-1].weight.data[0, 0] = -1
    del backend._heads
    with pytest.raises(InputError, match="negative"):
        backend.margins(some_tasks(), 3)


def test_a_file_of_another_network_is_refused():
    with pytest.raises(InputError, match="alexnet-owt"):
        given.opened("lpips-alex", weights=lambda file: given.trunk("squeezenet1_1"))


def test_package_loaders_read_tensors_only_and_are_put_back(tmp_path):
    before = torch.load, torch.hub.load
    torch.save({"x": pytest.approx(1)}, tmp_path / "code.pt")
    with features.package_loading({"torch.hub.load": None}):
        assert torch.hub.load is None
        with pytest.raises(Exception, match=r"[Ww]eights_only|Unsupported"):
            torch.load(tmp_path / "code.pt")
    assert (torch.load, torch.hub.load) == before


# ---- aggregation


def slow_aggregated(values, aggregation, temperature):
    out = np.empty(values.shape[:2])
    k = values.shape[-1] // 2
    for place in np.ndindex(*out.shape):
        sides = {}
        for query in range(2):
            for side in range(2):
                v = values[place][query, side * k : (side + 1) * k].astype(np.float64)
                weight = np.exp(v / temperature)
                sides[query, side] = {
                    "mean": v.mean(),
                    "max": v.max(),
                    "median": np.median(v),
                    "softmax": (weight * v).sum() / weight.sum(),
                }[aggregation]
        out[place] = sides[0, 0] - sides[0, 1] - sides[1, 0] + sides[1, 1]
    return out


@pytest.mark.parametrize("aggregation", ["mean", "max", "median", "softmax"])
def test_aggregations_are_those_of_all_similarities(aggregation):
    values = np.random.default_rng(0).standard_normal((3, 4, 2, 10)).astype(np.float32)
    found = aggregated_margins(values, aggregation, 0.3)
    np.testing.assert_allclose(found, slow_aggregated(values, aggregation, 0.3), rtol=1e-5, atol=1e-6)


def test_softmax_lies_between_mean_and_maximum():
    values = np.random.default_rng(0).standard_normal((3, 4, 2, 10))
    np.testing.assert_allclose(
        aggregated_margins(values, "softmax", 1e-3), aggregated_margins(values, "max"), atol=1e-5
    )
    np.testing.assert_allclose(
        aggregated_margins(values, "softmax", 1e5), aggregated_margins(values, "mean"), atol=1e-4
    )


@pytest.mark.parametrize("name", ["lpips-squeeze", "dists", "pixel"])
@pytest.mark.parametrize("aggregation", ["mean", "max", "median", "softmax"])
def test_every_backend_aggregates_and_runs_each_picture_once(name, aggregation):
    backend = (like if name != "pixel" else given.opened)(name, aggregation=aggregation, softmax_temperature=0.1)
    tasks = some_tasks(units=2)
    found = solve(backend, tasks, 3)
    plain = made(name)
    if plain.embeds:
        rows = unit_rows(plain.embed(np.arange(given.N)))
        values = np.einsum("utqd,uted->utqe", rows[tasks[..., 6:]], rows[tasks[..., :6]])
    else:
        every = all_features(plain)
        values = plain.values(every, tasks, 3, 64)
        assert backend.forwards == len(np.unique(tasks))
    np.testing.assert_allclose(found, slow_aggregated(values, aggregation, 0.1), atol=2e-6)


# ---- the bounded table


@pytest.mark.parametrize("name", FEATURES)
def test_memory_and_order_change_no_bit(name):
    tasks, opened = some_tasks(units=4), functools.partial(like, name, size=32)
    roomy = opened()
    expected = roomy.margins(tasks, 3)
    assert roomy.forwards == len(np.unique(tasks))
    tight = opened(cache_bytes=0)
    np.testing.assert_array_equal(tight.margins(tasks[::-1], 3)[::-1], expected)
    some = opened(cache_bytes=4 * 13 * roomy._width)
    np.testing.assert_array_equal(np.concatenate([some.margins(tasks[:1], 3), some.margins(tasks[1:], 3)]), expected)
    assert len(np.unique(tasks)) <= some.forwards <= tight.forwards


# ---- all pairs compared once


def paired(backend, images, step):
    """The table as the pipeline makes it, in stripes of `step` pictures."""
    upper = np.zeros((len(images), len(images)), np.float32)
    for first in range(0, len(images), step):
        last = min(first + step, len(images))
        upper[first:last, first:] = backend.pair_stripe(images, first, last)
    return features.mirrored(upper)


@pytest.mark.parametrize("name", FEATURES)
def test_all_pairs_compared_once_solve_tasks_like_the_tasks_pictures(name, monkeypatch):
    monkeypatch.setattr(features, "PAIR_BLOCK", 8)
    size = 32
    backend = like(name, size=size)
    images = np.arange(given.N, dtype=np.int32)
    table = paired(backend, images, 16)
    assert backend.forwards == sum(given.N - first for first in range(0, given.N, 16))
    assert (table == table.T).all()
    assert (np.diag(table) == 0).all()
    with torch.no_grad():
        original = doubled(backend.model)(*[backend.tensors(part).double() for part in (images[:5], images[7:12])])
    np.testing.assert_allclose(table[np.arange(5), np.arange(7, 12)], -original.reshape(-1), atol=1e-6)
    tasks = some_tasks(units=3)
    np.testing.assert_allclose(backend.margins(tasks, 3, table), backend.margins(tasks, 3), atol=1e-6)
    tight = like(name, size=size, cache_bytes=0)
    assert tight.stripe == 8
    np.testing.assert_array_equal(paired(tight, images, 8), table)


@pytest.mark.parametrize("aggregation", ["max", "median", "softmax"])
def test_a_table_of_pairs_serves_every_aggregation(aggregation):
    backend = like("lpips-squeeze", aggregation=aggregation, size=32)
    table, tasks = paired(backend, np.arange(given.N, dtype=np.int32), 64), some_tasks()
    np.testing.assert_allclose(backend.margins(tasks, 3, table), backend.margins(tasks, 3), atol=1e-6)


def test_pairs_pay_for_many_tasks_of_few_pictures():
    assert features.pairs_pay(4_791, 1_000_000)
    assert not features.pairs_pay(4_791, 20_000)
    assert not features.pairs_pay(1_281_167, 10**10)


def test_kept_features_are_used_again():
    backend = like("lpips-squeeze")
    tasks = some_tasks()
    first = backend.margins(tasks, 3)
    count = backend.forwards
    np.testing.assert_array_equal(backend.margins(tasks, 3), first)
    assert backend.forwards == count


def test_roots_are_the_nearest_numbers_to_the_true_ones():
    values = torch.from_numpy(np.random.default_rng(0).random(100_000, dtype=np.float32) * 1000)
    expected = np.sqrt(values.numpy().astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(root(values).numpy(), expected)
    assert root(torch.tensor(4.0)).item() == 2
    assert root(torch.tensor([0.0, 0.25]).view(2, 1).T).tolist() == [[0.0, 0.5]]


def test_features_with_roots_of_our_own_are_those_of_the_packages():
    batch = torch.from_numpy(np.random.default_rng(0).random((2, 3, 33, 34), dtype=np.float32))
    backend = made("dists")
    pools = [module for module in backend.model.model.children() if isinstance(module, dists.L2Pool2d)]
    assert len(pools) == 5
    for pool in pools:
        maps = torch.rand((2, len(pool.kernel), 9, 10), generator=torch.Generator().manual_seed(0))
        np.testing.assert_allclose(dists._pooled(pool, maps), pool(maps), rtol=1e-6)
    for mine, expected in zip(backend._layers(batch), backend.model.get_features(batch), strict=True):
        # untrained layers magnify what one rounding differs
        np.testing.assert_allclose(mine, expected, rtol=0, atol=5e-6 * float(expected.abs().max()))
    backend = made("lpips-alex")
    found, start = backend.features(batch), 0
    for layer, (channels, roots) in zip(
        backend.model.net(backend.model.scaling_layer(batch)), backend._heads, strict=True
    ):
        unit = sys.modules["lpips"].normalize_tensor(layer)[:, channels]
        expected = (unit * (roots / layer[0, 0].numel() ** 0.5).view(1, -1, 1, 1)).flatten(1)
        np.testing.assert_allclose(found[:, start : start + expected.shape[1]], expected, atol=1e-6)
        start += expected.shape[1]
    assert start == found.shape[1]


def test_neighbours_in_order_share_pictures():
    # units 0, 2, 4 look at the first pictures and 1, 3, 5 at others; together they form two runs
    low, high = np.arange(16), np.arange(20, 36)
    tasks = np.stack([(low if unit % 2 == 0 else high).reshape(2, 8) for unit in range(6)]).astype(np.int32)
    assert features.sharing_order(tasks).tolist() == [0, 2, 4, 1, 3, 5]
    assert sorted(features.sharing_order(some_tasks(units=9), window=4).tolist()) == list(range(9))


@pytest.mark.skipif(not REALDATA.is_dir(), reason="needs real photographs and a real network")
def test_real_lpips_on_real_photographs():
    from PIL import Image, ImageFilter

    from interpretability import weights

    state = weights.load_state(REALDATA / "weights/squeezenet1_1_torchvision.safetensors")
    files = sorted(REALDATA.glob("images/*/*"))[::180][:24]
    photographs = [Image.open(file).convert("RGB").resize((224, 224)) for file in files]
    shown = [np.asarray(picture) for picture in photographs]
    shown += [np.asarray(picture.filter(ImageFilter.GaussianBlur(1))) for picture in photographs]
    backend = given.opened("lpips-squeeze", shown, weights=lambda file: state)
    pairs = np.stack([task(a, (a + 5) % 24, a + 24, (a + 5) % 24 + 24)[0] for a in range(24)])
    assert (backend.margins(pairs, 1) > 0).all()  # a picture is closest to its own blurred copy
    tasks = some_tasks(units=1, n=24, n_tasks=2, k=2)
    seen = backend.tensors(np.arange(24))
    with torch.no_grad():
        expected = pairwise_margins(lambda x, y: -backend.model(x, y), seen, tasks, 2)
    np.testing.assert_allclose(backend.margins(tasks, 2), expected, atol=1e-6)
