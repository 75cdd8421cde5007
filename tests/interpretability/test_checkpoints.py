"""Which table of a file is a network's: only what fits by names and shapes, told if in doubt."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from interpretability import checkpoints
from interpretability.checkpoints import Wanted, choose_state, sole_table
from interpretability.errors import InputError


def network():
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), head=nn.Linear(4, 10)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(3, 3) for _ in range(3))
        self.c.weight = self.b.weight


class Named(nn.Module):
    """Has a part called as the prefix of a wrapper."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(3, 2)


class Renamed(nn.Linear):
    """Takes the names of an older version of itself, as some of torchvision's do."""

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        if f"{prefix}kernel" in state_dict:
            state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}kernel")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def state(number, model=None):
    """A state whose floating-point numbers are all `number`."""
    content = (model or network()).state_dict()
    return {
        name: torch.full_like(value, number) if value.is_floating_point() else value for name, value in content.items()
    }


def under(prefix, content):
    return {f"{prefix}{name}": value for name, value in content.items()}


def chosen(content, model=None, choice="", **options):
    return choose_state(content, Wanted.by(model or network()), "w.pth", choice, **options)


def refused(content, model=None, choice="", **options):
    with pytest.raises(InputError) as caught:
        chosen(content, model, choice, **options)
    return str(caught.value)


ONE = state(1.0)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (ONE, None),
        ({**ONE, "epoch": 3}, None),
        ({"state_dict": ONE, "epoch": 3}, "the table state_dict is taken"),
        ({"model": ONE, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}, "the table model is taken"),
        ({"anything": ONE, "lr": torch.ones(())}, "the table anything is taken"),
        ({"a": {"b": {"c": ONE}}}, "the table a.b.c is taken"),
        (under("module.", ONE), "its tensors are taken without 'module.' before the names"),
        (under("_orig_mod.", ONE), "without '_orig_mod.'"),
        (under("net.", ONE), "without 'net.'"),
        (under("module._orig_mod.", ONE), "without 'module._orig_mod.'"),
        ({"state_dict": under("model.", ONE)}, "the table state_dict is taken without 'model.' before the names"),
        ({"state_dict": under("backbone.body.", ONE)}, "without 'backbone.body.'"),
        (
            {"state_dict": {**under("model.", ONE), "loss.weight": torch.ones(2)}},
            "1 tensors under other names are left alone",
        ),
        ({**under("student.", ONE), **under("teacher.", state(2.0, nn.Linear(2, 2)))}, "without 'student.'"),
    ],
)
def test_the_one_table_that_fits_is_taken_and_said(content, note):
    found = chosen(content)
    assert set(found.tensors) == set(ONE)
    assert all(torch.equal(value, ONE[name]) for name, value in found.tensors.items())
    network().load_state_dict(found.tensors)
    assert (note is None and not found.notes) or any(note in each for each in found.notes)


@pytest.mark.parametrize(
    ("content", "choices"),
    [
        ({"state_dict": ONE, "state_dict_ema": state(2.0)}, ["state_dict", "state_dict_ema"]),
        ({"model": ONE, "model_ema": under("module.", state(2.0))}, ["model", "model_ema"]),
        ({"student": ONE, "teacher": state(2.0), "epoch": 1}, ["student", "teacher"]),
        ({**under("student.", ONE), **under("teacher.", state(2.0))}, ["student", "teacher"]),
        ({"nets": {"a": ONE, "b": state(2.0)}}, ["nets.a", "nets.b"]),
        ({"state": {**under("a.x.", ONE), **under("b.", state(2.0))}}, ["state.a", "state.b"]),
        ({**ONE, "ema": state(2.0)}, [".", "ema"]),
        ({"model": ONE, "copy": {name: value.clone() for name, value in ONE.items()}}, ["model", "copy"]),
    ],
)
def test_several_tables_are_refused_and_can_be_chosen(content, choices):
    told = refused(content)
    assert "w.pth holds 2 tables that fit the network: " in told
    assert "Choose one behind the file's name, as w.pth#" in told
    values = [float(chosen(content, choice=choice).tensors["conv.bias"][0]) for choice in choices]
    assert values[0] == 1.0
    assert values[1] == (1.0 if "copy" in content else 2.0)
    assert "has no table 'other'; it has " in refused(content, choice="other")


def test_names_that_begin_as_a_prefix_by_right_keep_it():
    model = Named()
    found = chosen(state(1.0, model), model)
    assert set(found.tensors) == {"module.weight", "module.bias"}
    assert not found.notes
    assert set(chosen(under("module.", state(1.0, model)), model).tensors) == {"module.weight", "module.bias"}


@pytest.mark.parametrize("left_out", ["b.weight", "c.weight"])
def test_names_of_tied_tensors_may_be_left_out(left_out):
    model = Tied()
    content = state(1.0, model)
    del content[left_out]
    model.load_state_dict(chosen(content, model).tensors, strict=False)
    assert model.c.weight is model.b.weight
    assert float(model.c.weight[0, 0].detach()) == 1.0
    del content["a.weight"]
    assert "1 of 6 tensors of the network are not in it (a.weight)" in refused(content, model)


def test_tied_tensors_with_different_values_are_refused():
    model = Tied()
    content = state(1.0, model) | {"c.weight": torch.zeros(3, 3)}
    assert "b.weight and c.weight are one tensor of the network and have different values" in refused(content, model)


def test_a_second_name_of_a_loaded_tensor_is_no_misfit():
    content = state(1.0)
    assert set(chosen(content | {"copy.weight": content["head.weight"]}).tensors) > set(ONE)
    assert "1 of its tensors are not in the network (copy.weight)" in refused(
        content | {"copy.weight": torch.ones(10, 4)}
    )


def test_counters_of_batch_norms_may_be_missing_or_too_many():
    content = {name: value for name, value in state(1.0).items() if not name.endswith("num_batches_tracked")}
    assert chosen(content).notes == ("1 counters of batch norms are not in the file and do not act",)
    content |= {"conv.num_batches_tracked": torch.ones(()), "norm.num_batches_tracked": torch.ones(())}
    assert chosen({name: value.long() if "num" in name else value for name, value in content.items()}).notes == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"conv.weight": None}, "1 of 9 tensors of the network are not in it (conv.weight)"),
        ({"more": torch.ones(1)}, "1 of its tensors are not in the network (more)"),
        ({"conv.bias": torch.ones(5)}, "1 have another shape (conv.bias is 5 and should be 4)"),
        ({"conv.bias": torch.ones(())}, "(conv.bias is one number and should be 4)"),
        (
            {"norm.num_batches_tracked": torch.ones(4).long()},
            "(norm.num_batches_tracked is 4 and should be one number)",
        ),
        ({"conv.bias": torch.ones(4, dtype=torch.int8)}, "hold other numbers (conv.bias is whole, floating-point in"),
        ({"conv.bias": torch.ones(4, dtype=torch.complex64)}, "(conv.bias is complex, floating-point in the network)"),
        ({"conv.bias": torch.ones(4).to_sparse()}, "(conv.bias is sparse, floating-point in the network)"),
        ({"conv.bias": torch.empty(4, device="meta")}, "(conv.bias is without content, floating-point in"),
        ({"conv.weight": None, "conv.weigth": torch.ones(4, 3, 3, 3)}, "Near names: conv.weight may be conv.weigth"),
        (
            {"head.weight": torch.ones(7, 4), "head.bias": torch.ones(7)},
            'Only the number of outputs differs, 7 in the file and 10 in the network: kwargs {"classes": 7} may be meant',
        ),
    ],
)
def test_misfits_are_told_by_count_and_name(change, told):
    content = {name: value for name, value in {**ONE, **change}.items() if value is not None}
    beside = {"state_dict": content, "old": {"x": torch.ones(1)}}
    for each, called in ((content, ""), (beside, "Nearest of 2 tables is state_dict")):
        text = refused(each, network="mine:make", outputs="classes")
        assert text.startswith(f"w.pth does not fit mine:make: {called}")
        assert told in text
        assert text.endswith("Correct the constructor, its kwargs or the file")
        assert len(text) < 700


def test_half_precision_and_old_single_numbers_fit():
    content = {name: value.half() if value.is_floating_point() else value.reshape(1) for name, value in ONE.items()}
    model = network()
    model.load_state_dict(chosen(content).tensors)
    assert model.conv.weight.dtype == torch.float32


def test_a_network_that_converts_older_names_does():
    model = nn.Sequential(Renamed(2, 3))
    content = {"0.kernel": torch.ones(3, 2), "0.bias": torch.ones(3)}

    def loads(table):
        try:
            model.load_state_dict(table)
        except RuntimeError:
            return False
        return True

    assert chosen(content, model, loads=loads).converted
    assert "does not fit" in refused(content | {"x": torch.ones(1)}, model, loads=loads)
    assert "does not fit" in refused(content, nn.Sequential(nn.Linear(2, 3)))


@pytest.mark.parametrize(
    "content", [torch.ones(3), [], {}, {0: torch.ones(1)}, {"a": 1}, {"a": {"b": "c"}}, None, "text"]
)
def test_content_without_a_table_is_refused(content):
    assert "w.pth holds no table of named tensors; save model.state_dict() instead" in refused(content)
    with pytest.raises(InputError, match="holds no table"):
        sole_table(content, "w.pth")


def test_tables_inside_each_other_end():
    loop = {"x": torch.ones(1)}
    for name in "abcdefgh" * 20:
        loop[name] = loop
    assert "does not fit" in refused(loop)


def test_names_of_a_file_are_shown_without_control_characters():
    text = refused({"a\x1b[1m\n" + "b" * 300: torch.ones(1)})
    assert "\x1b" not in text
    assert "\n" not in text
    assert len(text) < 500


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"a": torch.ones(1), "b": torch.ones(2)}, {"a", "b"}),
        ({"module.a": torch.ones(1), "module.b": torch.ones(2)}, {"a", "b"}),
        ({"module.a": torch.ones(1), "b": torch.ones(2)}, {"module.a", "b"}),
        ({"state_dict": {"a": torch.ones(1)}, "epoch": 3}, {"a"}),
        ({"a": torch.ones(1), "epoch": 3}, {"a"}),
    ],
)
def test_the_sole_table_of_a_file(content, names):
    assert set(sole_table(content, "w.pth")) == names


def test_a_file_of_two_tables_has_no_sole_one():
    with pytest.raises(InputError, match=r"w\.pth holds 2 tables of tensors: state_dict, state_dict_ema"):
        sole_table({"state_dict": {"a": torch.ones(1)}, "state_dict_ema": {"a": torch.ones(1)}}, "w.pth")


def test_shown_names_are_short():
    assert checkpoints.shown("a\tb") == "a?b"
    assert len(checkpoints.shown("x" * 100)) == 80
