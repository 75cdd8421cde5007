"""Tables of named tensors in the content of a file of weights: which there are, and which one is a network's.

A file may hold one table, several (weights as trained and as averaged, a student and its teacher), or one flat table in
which several networks are told by the beginning of their names; wrappers put a prefix before every name. A table is a
network's where its names and shapes are those of the network, and nothing is guessed beyond that.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interpretability.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

TOP = "."  # what chooses the names that stand in no table
_DEPTH = 3  # of tables in tables
_SHOWN, _LISTED = 3, 9  # names of a kind in a message, and tables
_COUNTERS = "num_batches_tracked"  # of batch norms; they act in training alone, and old files lack them
_EXTRA = "_extra_state"  # what a module keeps beside its tensors

Table = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Wanted:
    """Tensors of a network: `shapes` and `kinds` by name, `aliases` the names of the same tensor, `versions` what torch keeps
    of the form of each module's names.
    """

    shapes: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]
    versions: object

    @classmethod
    def by(cls, model: nn.Module) -> Wanted:
        state = model.state_dict(keep_vars=True)
        tensors = _tensors(state)
        same: dict[int, list[str]] = {}
        for name, value in tensors.items():
            same.setdefault(id(value), []).append(name)
        return cls(
            shapes={name: tuple(value.shape) for name, value in tensors.items()},
            kinds={name: _kind(value) for name, value in tensors.items()},
            aliases={name: tuple(same[id(value)]) for name, value in tensors.items()},
            versions=getattr(state, "_metadata", None),
        )


@dataclass(frozen=True)
class State:
    """Tensors of a network out of a file.

    tensors      under the network's own names; those of tied tensors and of counters may be missing
    notes        what is worth saying about the choice
    converted    the network converts their names when it loads them
    """

    tensors: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    converted: bool = False


@dataclass(frozen=True)
class _Candidate:
    """A table of the file with a prefix cut from its names; `rest` are its names under other prefixes."""

    place: tuple[str, ...]
    prefix: str
    tensors: Table
    extras: Mapping[str, Any]
    rest: int
    versions: object

    @property
    def label(self) -> str:
        return ".".join([*self.place, *filter(None, [self.prefix.removesuffix(".")])])

    @property
    def called(self) -> str:
        return shown(self.label) or TOP


@dataclass
class _Misfits:
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    tied: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes) + len(self.kinds) + len(self.tied)


def sole_table(content: object, where: str) -> dict[str, Tensor]:
    """The one table of tensors in the content of a file, without a `module.` before every name.

    Raises InputError, which begins with `where`, for none or several.
    """
    tables = dict(_tables(content))
    inside = {
        place: table for place, table in tables.items() if len(place) == 1 and len(table) == len(_at(content, place))
    }
    if len(inside) > 1:
        names = ", ".join(shown(name) for (name,) in inside)
        raise InputError(f"{where} holds {len(inside)} tables of tensors: {names}. Save the one that is meant")
    found = list(inside.values()) or [table for place, table in tables.items() if not place]
    if not found:
        raise InputError(_no_table(where))
    cut = "module." if all(name.startswith("module.") for name in found[0]) else ""
    return {name.removeprefix(cut): value for name, value in found[0].items()}


def choose_state(
    content: object,
    wanted: Wanted,
    where: str,
    choice: str = "",
    *,
    loads: Callable[[Mapping[str, Any]], bool] | None = None,
    network: str = "the network",
    outputs: str = "num_classes",
) -> State:
    """The tensors of a network in the content of a file of weights.

    wanted   `Wanted.by(network)`
    where    the file, for messages
    choice   the table meant where there are several, such as model_ema or student.backbone; TOP for names in no table
    loads    whether a network that converts older names takes a table; asked where no names fit
    network  what it is called, and
    outputs  what the constructor calls the number of outputs, for messages

    Candidates are all tables up to three deep, each with every prefix cut under which the network's names may stand. Raises
    InputError where none fits, saying what is nearest, and where several do, whatever their values.
    """
    tables = _tables(content)
    if not tables:
        raise InputError(_no_table(where))
    candidates = [each for place, table in tables for each in _candidates(content, place, table, wanted)]
    meant = [each for each in candidates if _is_meant(each, choice)]
    if choice and not meant:
        known = ", ".join(dict.fromkeys(each.called for each in candidates)) or ", ".join(
            shown(".".join(place)) or TOP for place, _ in tables
        )
        raise InputError(f"{where} has no table {choice!r}; it has {known}")
    fitting = [each for each in meant if not len(_misfits(each, wanted))]
    if not fitting and loads is not None:
        converted = [each for each in meant if not each.rest and loads(_state(each, wanted))]
        if len(converted) == 1:
            notes = (*_how(converted[0]), "the network converts the names of an older version of itself")
            return State(_state(converted[0], wanted), notes, converted=True)
    if not fitting:
        raise InputError(f"{where} does not fit {network}: {_explained(meant, wanted, outputs)}")
    if len(fitting) > 1:
        names = ", ".join(each.called for each in fitting[:_LISTED])
        more = f" and {len(fitting) - _LISTED} more" if len(fitting) > _LISTED else ""
        raise InputError(
            f"{where} holds {len(fitting)} tables that fit the network: {names}{more}. Choose one behind the file's name, "
            f"as {shown(where)}#{fitting[-1].called}"
        )
    (first,) = fitting
    notes = _how(first)
    if first.rest:
        notes.append(f"{first.rest} tensors under other names are left alone")
    counters = [name for name in wanted.shapes if name.endswith(_COUNTERS) and name not in first.tensors]
    if counters:
        notes.append(f"{len(counters)} counters of batch norms are not in the file and do not act")
    return State(_state(first, wanted), tuple(notes))


def shown(text: str) -> str:
    """A name out of a file as a message may show it: short, without control characters."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."


def _no_table(where: str) -> str:
    return f"{where} holds no table of named tensors; save model.state_dict() instead"


def _is_meant(candidate: _Candidate, choice: str) -> bool:
    if choice == TOP:
        return not candidate.place and not candidate.prefix
    return not choice or f"{candidate.label}.".startswith(f"{choice}.")


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    from torch import Tensor

    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _tables(content: object) -> list[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Place and tensors of every table of the content, outer ones first; a table that stands in several places, in one."""
    found: list[tuple[tuple[str, ...], dict[str, Tensor]]] = []
    seen: set[int] = set()
    level: list[tuple[tuple[str, ...], object]] = [((), content)]
    for _ in range(_DEPTH + 1):
        deeper: list[tuple[tuple[str, ...], object]] = []
        for place, part in level:
            if not isinstance(part, Mapping) or id(part) in seen:
                continue
            seen.add(id(part))
            tensors = _tensors(part)
            if tensors:
                found.append((place, tensors))
            deeper += [((*place, name), value) for name, value in part.items() if isinstance(name, str)]
        level = deeper
    return found


def _at(content: Any, place: Sequence[str]) -> Mapping[str, Any]:
    for name in place:
        content = content[name]
    return content


def _candidates(content: object, place: tuple[str, ...], table: Table, wanted: Wanted) -> Iterator[_Candidate]:
    """A table as it is, and with each prefix cut under which the network's first tensor stands in it."""
    prefixes = {""}
    if firsts := next((names for name, names in wanted.aliases.items() if not name.endswith(_COUNTERS)), ()):
        prefixes |= {name[: -len(first)] for name in table for first in firsts if name.endswith(f".{first}")}
    common = _common_prefix(table)
    prefixes |= {common[: end + 1] for end in range(len(common)) if common[end] == "."}
    whole = _at(content, place)
    for prefix in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
        part = {name[len(prefix) :]: value for name, value in table.items() if name.startswith(prefix)}
        extras = {
            name[len(prefix) :]: value
            for name, value in whole.items()
            if str(name).startswith(prefix) and str(name).split(".")[-1] == _EXTRA
        }
        yield _Candidate(place, prefix, part, extras, len(table) - len(part), getattr(whole, "_metadata", None))


def _common_prefix(names: Mapping[str, object]) -> str:
    """What all names begin with, up to and with a dot."""
    first, last = min(names), max(names)
    count = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind(".", 0, count) + 1]


def _kind(value: Tensor) -> str:
    """What numbers a tensor holds, and how; values of one kind are not put into a tensor of another."""
    import torch

    if value.is_meta:
        return "without content"
    if value.is_quantized or value.layout != torch.strided:
        return "quantised" if value.is_quantized else "sparse"
    return "floating-point" if value.is_floating_point() else "complex" if value.is_complex() else "whole"


def _misfits(candidate: _Candidate, wanted: Wanted) -> _Misfits:
    found = _Misfits()
    tensors = candidate.tensors
    for name, shape in wanted.shapes.items():
        there = [other for other in wanted.aliases[name] if other in tensors]
        if name not in tensors:
            if not there and not name.endswith(_COUNTERS):
                found.missing.append(name)
            continue
        value = tensors[name]
        # a single number was kept as a list of one by old versions of torch
        if tuple(value.shape) != shape and not (shape == () and tuple(value.shape) == (1,)):
            found.shapes.append(name)
        elif _kind(value) != wanted.kinds[name]:
            found.kinds.append(name)
        elif there[0] != name and not _same(value, tensors[there[0]]):
            found.tied.append((there[0], name))
    loaded = {_memory(value) for name, value in tensors.items() if name in wanted.shapes}
    found.unexpected += [
        name
        for name, value in tensors.items()
        if name not in wanted.shapes and not name.endswith(_COUNTERS) and _memory(value) not in loaded
    ]
    return found


def _memory(value: Tensor) -> tuple[object, ...]:
    """Equal for two names of one tensor; of no two others."""
    if not value.numel() or _kind(value) in ("sparse", "without content", "quantised"):
        return (id(value),)
    return value.data_ptr(), tuple(value.shape), value.stride()


def _same(a: Tensor, b: Tensor) -> bool:
    import torch

    if a is b:
        return True
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    # bytes, so that two that are not a number are equal
    one, other = (value.detach().contiguous().reshape(-1).view(torch.uint8) for value in (a, b))
    return torch.equal(one, other)


def _state(candidate: _Candidate, wanted: Wanted) -> dict[str, Any]:
    """What the network loads of a candidate, with what the file says of the form of names, else the network's own word."""
    from collections import OrderedDict

    state: OrderedDict[str, Any] = OrderedDict(candidate.tensors)
    state.update(candidate.extras)
    versions = wanted.versions
    if isinstance(candidate.versions, Mapping):
        cut = candidate.prefix
        versions = {
            name[len(cut) :]: value
            for name, value in candidate.versions.items()
            if f"{name}.".startswith(cut) and isinstance(value, Mapping)
        }
    state._metadata = versions  # pyright: ignore[reportAttributeAccessIssue]
    return state


def _how(candidate: _Candidate) -> list[str]:
    if not candidate.label:
        return []
    table, prefix = ".".join(candidate.place), candidate.prefix
    where = f"the table {shown(table)}" if table else "its tensors"
    return [
        f"{where} is taken"
        if not prefix
        else f"{where} {'is' if table else 'are'} taken without {shown(prefix)!r} before the names"
    ]


def _explained(candidates: Sequence[_Candidate], wanted: Wanted, outputs: str) -> str:
    """Why no candidate fits, by the one that comes nearest."""
    judged = [(each, _misfits(each, wanted)) for each in candidates]
    nearest, misfits = min(judged, key=lambda pair: (len(pair[1]), len(pair[0].label)))
    names = list(dict.fromkeys(each.called for each in candidates))
    several = f"Nearest of {len(names)} tables is {nearest.called}: " if len(names) > 1 else ""
    tensors = nearest.tensors
    parts = []
    for names, what in (
        (misfits.missing, "of {all} tensors of the network are not in it"),
        (misfits.unexpected, "of its tensors are not in the network"),
    ):
        if names:
            parts.append(f"{len(names)} {what.replace('{all}', str(len(wanted.shapes)))} ({_some(names)})")
    if misfits.shapes:
        examples = ", ".join(
            f"{shown(name)} is {_size(tensors[name].shape)} and should be {_size(wanted.shapes[name])}"
            for name in misfits.shapes[:_SHOWN]
        )
        parts.append(f"{len(misfits.shapes)} have another shape ({examples})")
    if misfits.kinds:
        name = misfits.kinds[0]
        parts.append(
            f"{len(misfits.kinds)} hold other numbers ({shown(name)} is {_kind(tensors[name])}, {wanted.kinds[name]} in the "
            "network)"
        )
    if misfits.tied:
        a, b = misfits.tied[0]
        parts.append(f"{shown(a)} and {shown(b)} are one tensor of the network and have different values")
    text = f"{several}{'; '.join(parts)}"
    if hints := _near_names(misfits):
        text += f". Near names: {hints}"
    return f"{text}{_other_outputs(misfits, nearest, wanted, outputs)}. Correct the constructor, its kwargs or the file"


def _some(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _near_names(misfits: _Misfits) -> str:
    near = {
        name: difflib.get_close_matches(name, misfits.unexpected[:1000], 1, 0.6) for name in misfits.missing[:_SHOWN]
    }
    return "; ".join(f"{shown(name)} may be {shown(found[0])}" for name, found in near.items() if found)


def _other_outputs(misfits: _Misfits, nearest: _Candidate, wanted: Wanted, outputs: str) -> str:
    """A word where nothing but the number of outputs differs."""
    if not misfits.shapes or len(misfits) > len(misfits.shapes):
        return ""
    sizes = {(tuple(nearest.tensors[name].shape)[:1], wanted.shapes[name][:1]) for name in misfits.shapes}
    rests = all(tuple(nearest.tensors[name].shape)[1:] == wanted.shapes[name][1:] for name in misfits.shapes)
    if len(sizes) != 1 or not rests or () in next(iter(sizes)):
        return ""
    ((there,), (here,)) = next(iter(sizes))
    meant = f'{{"{outputs}": {there}}}'
    return f". Only the number of outputs differs, {there} in the file and {here} in the network: kwargs {meant} may be meant"
