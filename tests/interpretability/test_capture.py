"""Which module outputs are units, where they are read, and that their values belong to one image."""

import weakref

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from interpretability.errors import InputError
from interpretability.networks import memory
from interpretability.networks.capture import Capture, check_independence
from interpretability.networks.layers import find_layers, unit_values
from interpretability.networks.memory import lacks_memory, refusals

TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")


def layers_of(model, size=32, **kwargs):
    return find_layers(model.eval(), torch.randn(3, 3, size, size), layer_types=TYPES, **kwargs)


def capture(model, layers, batch):
    with Capture(model, layers, len(batch), batch.device) as run:
        return run(batch).clone()


class Small(nn.Module):
    """conv - norm - relu - conv - flatten - linear, and the linear layer once more."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 5, 3)
        self.unused = nn.Linear(5, 5)
        self.shared = nn.Linear(5, 5)

    def forward(self, x):
        x = torch.relu_(self.norm(self.first(x)))
        x = self.second(x).mean((2, 3))
        return self.shared(self.shared(x))


def test_layers_come_in_the_order_of_their_first_call():
    layers = layers_of(Small(), drop_first_last=False)
    assert [layer.name for layer in layers] == ["first", "norm", "second", "shared", "shared#2"]
    assert [layer.layer_type for layer in layers] == ["Conv", "BatchNorm", "Conv", "Linear", "Linear"]
    assert [layer.depth for layer in layers] == [0, 0.25, 0.5, 0.75, 1]
    assert [layer.width for layer in layers] == [4, 4, 5, 5, 5]


def test_first_and_last_are_left_out_after_depth_is_counted():
    layers = layers_of(Small())
    assert [layer.name for layer in layers] == ["norm", "second", "shared"]
    assert [layer.depth for layer in layers] == [0.25, 0.5, 0.75]
    assert [layer.layer_index for layer in layers] == [1, 2, 3]


def test_values_are_spatial_means_before_the_activation():
    torch.manual_seed(0)
    model, batch = Small().eval(), torch.randn(6, 3, 16, 16)
    values = capture(model, layers_of(model, 16, drop_first_last=False), batch)
    with torch.no_grad():
        first = model.first(batch)
        norm = model.norm(first)
        second = model.second(torch.relu(norm))
        once = model.shared(second.mean((2, 3)))
        expected = torch.cat([first.mean((2, 3)), norm.mean((2, 3)), second.mean((2, 3)), once, model.shared(once)], 1)
    # the norm's own values, although the network overwrites them in place afterwards
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_norm_with_a_fused_activation_is_read_where_asked(where):
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", pretrained=False).eval()
    layers = layers_of(model, norm_act=where, drop_first_last=False)
    batch = torch.randn(4, 3, 32, 32)
    values = capture(model, layers, batch)
    place = [layer.name for layer in layers].index("bn1")
    start = sum(layer.width for layer in layers[:place])
    with torch.no_grad():
        x = model.conv_stem(batch)
        plain = F.batch_norm(x, model.bn1.running_mean, model.bn1.running_var, model.bn1.weight, model.bn1.bias, False)
        expected = plain if where == "before" else model.bn1.act(plain)
    got = values[:, start : start + layers[place].width]
    torch.testing.assert_close(got, expected.mean((2, 3)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "kwargs"),
    [
        ("test_vit", 32, {"img_size": 32}),  # tokens
        ("test_convnext", 32, {}),  # channels-last norms and linear layers
        ("swin_tiny_patch4_window7_224", 56, {"img_size": 56, "depths": (1, 1), "embed_dim": 24, "num_heads": (2, 2)}),
        ("test_nfnet", 32, {}),
        ("xcit_nano_12_p16_224", 32, {"img_size": 32}),
    ],
)
def test_values_of_an_image_do_not_depend_on_its_batch(name, size, kwargs):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **kwargs)
    layers = layers_of(model, size)
    check_independence(model, layers, torch.randn(4, 3, size, size))
    assert len({layer.name for layer in layers}) == len(layers)


def test_tokens_are_averaged_all_together():
    torch.manual_seed(0)
    model, batch = timm.create_model("test_vit", img_size=32).eval(), torch.randn(3, 3, 32, 32)
    layers = layers_of(model)
    with torch.no_grad():
        features = model.forward_features(batch)  # ends in the norm over all tokens, class token included
    values = capture(model, layers, batch)
    start = sum(layer.width for layer in layers[: [layer.name for layer in layers].index("norm")])
    torch.testing.assert_close(values[:, start : start + features.shape[-1]], features.mean(1), atol=1e-5, rtol=1e-5)


class Mixing(nn.Module):
    """A network whose values depend on the other images of the batch."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x):
        x = self.a(x)
        return self.c(self.b(x - x.mean(0, keepdim=True)))


def test_a_network_that_mixes_images_is_refused_by_layer():
    torch.manual_seed(0)
    model = Mixing()
    layers = layers_of(model)
    with pytest.raises(InputError, match=r"1 layers: b \("):
        check_independence(model, layers, torch.randn(4, 3, 8, 8))


def test_the_same_network_in_training_mode_is_refused():
    model = Small()
    layers = layers_of(model)
    with pytest.raises(InputError, match="norm"):
        check_independence(model.train(), layers, torch.randn(4, 3, 16, 16))


def test_hooks_are_gone_afterwards():
    model = Small().eval()
    capture(model, layers_of(model), torch.randn(2, 3, 16, 16))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(InputError, match=r"with layer_types = GroupNorm"):
        find_layers(Small().eval(), torch.randn(3, 3, 16, 16), layer_types=("GroupNorm",))


# --------------------------------------------------------------------------- a convolution and the norm on it


def with_statistics(model):
    """A network whose norms do something: random statistics and weights."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.randn(module.num_features, generator=generator))
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator))
    return model.eval()


class Norms(nn.Module):
    """Norms that follow their convolution at once, after a change in place, after a copy, and twice on one map."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3) for _ in range(4)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(4)])
        self.again = nn.BatchNorm2d(4)

    def forward(self, x):
        at_once = self.norms[0](self.convs[0](x))
        changed = self.norms[1](self.convs[1](x).mul_(2))
        copied = self.norms[2](self.convs[2](x).clone())
        map3 = self.convs[3](x)
        twice = self.norms[3](map3) + self.again(map3)
        return (at_once + changed + copied + twice).mean((2, 3))


def read_maps(monkeypatch):
    """Counts the maps whose means are taken."""
    read, usual = [], unit_values

    def counted(*args):
        read.append(args)
        return usual(*args)

    monkeypatch.setattr("interpretability.networks.capture.unit_values", counted)
    return read


class Chain(nn.Module):
    """Norms on convolutions and on each other, and a 1 x 1 convolution between, which all follow from one map."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3)
        self.first, self.second, self.beside = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(5)
        self.wide, self.last = nn.Conv2d(4, 16, 1), nn.BatchNorm2d(16)

    def forward(self, x):
        chained = self.last(self.wide(self.second(self.first(self.conv(x)))))
        return (chained.mean(1) + self.beside(self.other(x)).mean(1)).mean((1, 2))


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_norms_are_put_into_the_buffer_together_as_far_as_none_waits_for_another(monkeypatch):
    torch.manual_seed(0)
    model, batch = with_statistics(Chain()), torch.randn(5, 3, 12, 12)
    layers = layers_of(model, 12, drop_first_last=False)
    read = read_maps(monkeypatch)
    with Capture(model, layers, 5, batch.device) as run:
        values, counted = run(batch).clone(), Operations()
        read.clear()
        with counted:
            run(batch[:3])
        assert len(read) == 2, "of the two convolutions"
        assert torch.equal(run(batch), values)
    names = [name for name in counted.names if name in ("addcmul", "addmm", "index_copy_")]
    assert names == 2 * ["addcmul", "index_copy_"] + ["addmm"] + ["addcmul", "index_copy_"]
    with Capture(model, layers, 5, batch.device, shortcut=False) as run:
        torch.testing.assert_close(values, run(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "mobilenetv2_100"])
def test_means_are_the_same_in_a_tensor_of_their_own_and_in_the_buffer(name):
    torch.manual_seed(0)
    sized = {"img_size": 64} if "vit" in name else {}
    model, batch = with_statistics(timm.create_model(name, pretrained=False, **sized)), torch.randn(3, 3, 64, 64)
    with Capture(model, layers_of(model, 64), 3, batch.device) as run:
        expected = run(batch).clone()
        run._in_place = True  # as on a GPU
        run.buffer.fill_(torch.nan)
        counted = Operations()
        with counted:
            torch.testing.assert_close(run(batch), expected, atol=1e-6, rtol=1e-6)
    assert "copy_" not in counted.names


def test_a_layer_of_another_width_for_other_images_is_an_error():
    class Narrowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.LayerNorm(4)
            self.narrow = False

        def forward(self, x):
            x = self.conv(x)
            return x[:, :3] if self.narrow else x

    model, batch = Narrowing().eval(), torch.randn(3, 3, 8, 8)
    tapped = find_layers(model, batch, layer_types=("Conv",), drop_first_last=False)
    model.conv.register_forward_hook(lambda module, args, out: out[:, :3])
    with Capture(model, tapped, 3, batch.device) as run:
        run._in_place = True
        with pytest.raises(InputError, match=r"\(3, 3, 6, 6\) gives 3 values an image where its layer has 4 units"):
            run(batch)


class Pointwise(nn.Module):
    """Linear layers and 1 x 1 convolutions that widen, narrow, stride, or stand where their input is known or changed."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.known = nn.Conv2d(4, 2, 1, bias=False)  # narrows, but the means of its input are known
        self.strided = nn.Conv2d(4, 8, 1, stride=2)
        self.grouped = nn.Conv2d(4, 8, 1, groups=2)
        self.changed = nn.Conv2d(4, 2, 1)  # its input was changed in place since it was read
        self.wide = nn.Conv2d(4, 16, 1)  # its input is read instead
        self.norm = nn.LayerNorm(16)
        self.query, self.key, self.narrow = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 4)
        self.head = nn.Linear(16, 20)  # one position an image: nothing to save

    def forward(self, x):
        x = self.stem(x)
        aside = self.known(x).sum() + self.strided(x).sum() + self.grouped(x).sum()
        x.relu_()
        aside = aside + self.changed(x).sum()
        normed = self.norm(self.wide(x).flatten(2).mT)
        mixed = self.query(normed) * self.key(normed).mean(dim=2, keepdim=True)
        aside = aside + self.narrow(mixed).sum()
        return self.head(mixed.mean(dim=1)) + aside


def test_a_pointwise_layer_is_not_read_where_its_input_is_known_or_narrower(monkeypatch):
    torch.manual_seed(0)
    model, batch = Pointwise().eval(), torch.randn(5, 3, 12, 12)
    layers = layers_of(model, 12, drop_first_last=False)
    read = read_maps(monkeypatch)
    with Capture(model, layers, 5, batch.device, shortcut=False) as run:
        expected = run(batch).clone()
    assert len(read) == len(layers) == 11
    read.clear()
    with Capture(model, layers, 5, batch.device) as run:
        values = run(batch).clone()
        shapes = [tuple(value.shape[1:]) for value, *_ in read]
        assert shapes == [(4, 10, 10), (8, 5, 5), (8, 10, 10), (2, 10, 10), (4, 10, 10), (100, 16), (100, 4), (20,)]
        torch.testing.assert_close(run(batch), values, atol=0, rtol=0)
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)
    assert (values.std(dim=0) > 1e-3).all()


def test_a_map_whose_channels_lie_on_another_axis_is_read_for_itself():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.norm = nn.Linear(16, 4), nn.BatchNorm1d(4)  # the norm's channels are the tokens

        def forward(self, x):
            return self.norm(self.tokens(x.mean(1)[:, :4]))

    model, batch = with_statistics(Turned()), torch.randn(5, 3, 16, 16)
    layers = layers_of(model, 16, drop_first_last=False)
    assert [layer.channel_axis for layer in layers] == [2, 1]
    torch.testing.assert_close(capture(model, layers, batch)[:, 4:], model(batch).mean(dim=2), atol=1e-6, rtol=1e-5)


class Plain(nn.Module):
    """A convolution, then a 1 x 1 convolution and a linear layer whose means could follow from those of their input."""

    def __init__(self):
        super().__init__()
        self.conv, self.wide, self.tokens = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 16, 1), nn.Linear(16, 32)

    def forward(self, x):
        return self.tokens(self.wide(self.conv(x)).flatten(2).mT)


def both_ways(model, batch, **options):
    """Values with and without what follows from the input."""
    layers = find_layers(model.eval(), batch[:3], layer_types=TYPES, drop_first_last=False)
    found = []
    for shortcut in (True, False):
        with Capture(model, layers, len(batch), batch.device, shortcut=shortcut, **options) as run:
            found.append(run(batch).clone())
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_networks_of_other_types_are_read_map_by_map(monkeypatch, dtype):
    torch.manual_seed(0)
    read = read_maps(monkeypatch)
    values, expected = both_ways(Plain().to(dtype), torch.randn(5, 3, 12, 12, dtype=dtype))
    assert torch.equal(values, expected)
    assert len(read) == 2 * 3


@pytest.mark.parametrize("kind", ["hook", "forward"])
def test_an_output_that_somebody_changes_is_read(kind):
    torch.manual_seed(0)
    model, batch = Plain(), torch.randn(5, 3, 12, 12)
    if kind == "hook":
        model.wide.register_forward_hook(lambda module, args, out: 3 * out + 1)
    else:
        usual = model.wide.forward
        model.wide.forward = lambda x: 3 * usual(x) + 1
    values, expected = both_ways(model, batch)
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)
    layers = layers_of(model, 12, drop_first_last=False)
    check_independence(model, layers, batch)
    unchanged = Plain()
    unchanged.load_state_dict(model.state_dict())
    assert (values[:, 4:20] - both_ways(unchanged, batch)[1][:, 4:20]).abs().min() > 1e-3


def test_rounding_is_that_of_the_layer_and_not_of_the_study():
    class Inner(Plain):
        def forward(self, x):
            x = self.wide(self.conv(x)).flatten(2).mT
            with torch.autocast("cpu", enabled=False):
                return self.tokens(x.float())

    torch.manual_seed(0)
    model, batch = Inner(), torch.randn(5, 3, 12, 12)
    model.tokens.weight.data *= 20
    values, expected = both_ways(model, batch, precision="bfloat16")
    error = (values - expected)[:, 20:].abs().max() / expected[:, 20:].abs().max()
    assert error < 1e-6, "the last layer works in float32"


def test_values_beyond_float16_show():
    torch.manual_seed(0)
    model = Plain()
    model.wide.weight.data *= 1e3
    model.tokens.weight.data *= 1e3
    values, expected = both_ways(model, 5 * torch.randn(5, 3, 12, 12), precision="float16")
    assert not expected.isfinite().all()
    assert torch.equal(values.isfinite(), expected.isfinite())


def test_maps_are_not_kept_alive_after_they_were_read():
    parts = [part for _ in range(4) for part in (nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))]
    model, batch = nn.Sequential(*parts).eval(), torch.randn(5, 3, 12, 12)
    layers = layers_of(model, 12, drop_first_last=False)
    seen, most = [], []
    with Capture(model, layers, 5, batch.device) as run:
        for part in parts:  # behind the hooks of the capture
            part.register_forward_hook(lambda module, args, out: seen.append(weakref.ref(out)))
            part.register_forward_hook(lambda *_: most.append(sum(each() is not None for each in seen)))
        run(batch)
    assert max(most) == 2, "the input and the output of the part that runs"


def test_a_norm_right_on_its_convolution_is_not_read_again_and_others_are(monkeypatch):
    model, batch = with_statistics(Norms()), torch.randn(5, 3, 12, 12)
    layers = layers_of(model, 12, drop_first_last=False)
    read = read_maps(monkeypatch)
    with Capture(model, layers, 5, batch.device, shortcut=False) as run:
        expected = run(batch).clone()
    assert len(read) == 9
    read.clear()
    with Capture(model, layers, 5, batch.device) as run:
        values = run(batch).clone()
    assert len(read) == 6, "four convolutions, and the norms behind a change in place and behind a copy"
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)
    assert values.std() > 0.1


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "mobilenetv2_100", "test_vit", "test_convnext", "xcit_nano_12_p16_224"]
)
@pytest.mark.parametrize("where", ["before", "after"])
def test_means_that_follow_from_those_of_the_input_are_right(name, where):
    torch.manual_seed(0)
    sized = {"img_size": 64} if "vit" in name else {}
    model, batch = with_statistics(timm.create_model(name, pretrained=False, **sized)), torch.randn(3, 3, 64, 64)
    layers = layers_of(model, 64, norm_act=where)
    values = [
        Capture(model, layers, 3, batch.device, shortcut=shortcut).__enter__()(batch).clone()
        for shortcut in (True, False)
    ]
    offset = 0
    for layer in layers:
        part = slice(offset, offset + layer.width)
        offset += layer.width
        scale = values[1][:, part].abs().max().clamp(min=1)
        assert ((values[0][:, part] - values[1][:, part]).abs().max() / scale).item() < 1e-6, layer.name


# --------------------------------------------------------------------------- memory and precision


class Greedy(Small):
    """Wants more memory than there is for more than two images."""

    def forward(self, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.parametrize(("n", "pieces"), [(8, 4), (7, 4), (2, 1), (3, 2)])
def test_a_batch_that_does_not_fit_runs_in_parts_from_then_on(n, pieces):
    torch.manual_seed(0)
    model, batch = Greedy().eval(), torch.randn(n, 3, 16, 16)
    layers = find_layers(model, batch[:2].repeat(1, 1, 1, 1), layer_types=TYPES) if n > 2 else None
    layers = layers or find_layers(model, batch, layer_types=TYPES)
    with Capture(model, layers, n, batch.device) as run:
        values = run(batch).clone()
        assert run.pieces == pieces
        again = run(batch)
        assert run.pieces == pieces
    alone = torch.cat([capture(model, layers, image[None]) for image in batch])
    torch.testing.assert_close(values, alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(again, values, atol=0, rtol=0)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_libraries_say_in_their_own_words_that_memory_lacks(monkeypatch, message):
    monkeypatch.setattr(torch, "OutOfMemoryError", lambda _: RuntimeError(message))
    model, batch = Greedy().eval(), torch.randn(4, 3, 16, 16)
    layers = layers_of(Small(), 16)
    with Capture(model, layers, 4, batch.device) as run:
        run(batch)
        assert run.pieces == 2
    assert lacks_memory(f"RuntimeError: {message}")


def test_another_error_is_not_taken_for_a_lack_of_memory():
    class Wrong(Small):
        def forward(self, x):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with Capture(Wrong().eval(), layers_of(Small(), 16), 4, torch.device("cpu")) as run:
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            run(torch.randn(4, 3, 16, 16))
        assert run.pieces == 1


def test_a_batch_in_which_memory_was_refused_runs_again_in_parts(monkeypatch):
    torch.manual_seed(0)
    model, batch = Small().eval(), torch.randn(8, 3, 16, 16)
    layers = layers_of(model, 16)
    refused = []

    def forward(x):
        refused.extend([1] if len(x) > 2 else [])  # the library hides it and takes another algorithm
        return Small.forward(model, x)

    monkeypatch.setattr(Capture, "_refusals", lambda self: len(refused))
    model.forward = forward
    with Capture(model, layers, 8, batch.device) as run:
        values = run(batch).clone()
        assert run.pieces == 4
    alone = torch.cat([capture(model, layers, image[None]) for image in batch])
    torch.testing.assert_close(values, alone, atol=1e-6, rtol=1e-5)


@pytest.fixture
def allocator(monkeypatch):
    """Stands for the memory of GPUs: who is told of refusals, and what the statistics say."""
    told, memory_stats = [], {"num_ooms": 3}
    monkeypatch.setattr(torch._C, "_cuda_attach_out_of_memory_observer", told.append)
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda device: memory_stats)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(memory, "_refused", memory.Counter())
    memory._is_told.cache_clear()
    yield told
    memory._is_told.cache_clear()


def test_refusals_are_counted_as_they_happen_and_statistics_are_not_asked(monkeypatch, allocator):
    first, current = torch.device("cuda:0"), torch.device("cuda")
    assert [refusals(first), refusals(current), refusals(torch.device("cpu"))] == [0, 0, 0]
    (tell,) = allocator  # once in a process
    for number in (1, 1, 0):
        tell(number, 2**30, 2**33, 2**20)
    assert [refusals(first), refusals(current), refusals(torch.device("cpu"))] == [1, 2, 0]
    assert len(allocator) == 1


def test_an_allocator_that_does_not_tell_is_asked(monkeypatch, allocator):
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "cudaMallocAsync")
    assert refusals(torch.device("cuda:0")) == 3
    assert not allocator


def test_one_image_that_does_not_fit_is_an_error():
    class Never(Small):
        def forward(self, x):
            if len(x) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    model = Never().eval()
    layers = layers_of(model, 16)

    def forward(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.forward = forward
    with Capture(model, layers, 4, torch.device("cpu")) as run, pytest.raises(torch.OutOfMemoryError):
        run(torch.randn(4, 3, 16, 16))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_half_precision_comes_close_and_its_means_are_float32(name, precision):
    torch.manual_seed(0)
    model = with_statistics(timm.create_model(name, pretrained=False, **({"img_size": 32} if "vit" in name else {})))
    batch = torch.randn(4, 3, 32, 32)
    layers = layers_of(model)
    kinds = set()
    handle = model.register_forward_hook(lambda module, args, out: kinds.add(out.dtype))
    with Capture(model, layers, 4, batch.device, precision=precision) as run:
        half = run(batch).clone()
    handle.remove()
    whole = capture(model, layers, batch)
    assert kinds == {getattr(torch, precision)}, "the network itself ran in half precision"
    assert half.dtype == torch.float32
    assert not torch.equal(half, whole)
    assert (half - whole).abs().max() / whole.abs().max() < 0.02
    assert len(half.unique()) > len(half.bfloat16().unique()), "means are not rounded to half precision"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_no_layer_that_rounds_its_output_follows_from_its_input(name, precision):
    torch.manual_seed(0)
    sized = {"img_size": 64} if "vit" in name else {}
    model, batch = timm.create_model(name, pretrained=False, **sized).eval(), torch.randn(3, 3, 64, 64)
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.weight.data *= 20  # differences beside the bias
    layers = layers_of(model, 64)
    values = []
    for shortcut in (True, False):
        with Capture(model, layers, 3, batch.device, precision=precision, shortcut=shortcut) as run:
            values.append(run(batch).clone())
    assert torch.equal(*values), "every map is read, so that overflow shows"


# --------------------------------------------------------------------------- linear layers of blocks


@pytest.mark.parametrize(
    ("name", "kwargs", "left_out"),
    [
        (
            "swin_tiny_patch4_window7_224",
            {},
            ["layers.1.downsample.reduction", "layers.2.downsample.reduction", "layers.3.downsample.reduction"],
        ),
        ("test_vit", {}, []),
        ("test_convnext", {}, []),
    ],
)
def test_linear_layers_outside_of_blocks_may_be_left_out(name, kwargs, left_out):
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False, **kwargs).eval()
        size = timm.data.resolve_data_config({}, model=model)["input_size"][1]
        example = torch.empty(3, 3, size, size)
        every, inside = (
            [each.name for each in find_layers(model, example, layer_types=TYPES, linear=rule)]
            for rule in ("all", "blocks")
        )
    assert [each for each in every if each not in inside] == left_out
    assert [each for each in every if each in inside] == inside


def test_a_network_without_attention_keeps_all_its_linear_layers():
    model = Small().eval()
    example = torch.randn(3, 3, 16, 16)
    every, inside = (find_layers(model, example, layer_types=TYPES, linear=rule) for rule in ("all", "blocks"))
    assert every == inside
