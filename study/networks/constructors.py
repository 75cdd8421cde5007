"""What builds a network: the callable behind a roster's `constructor`, called with its `kwargs`, and told where it fails."""

from __future__ import annotations

import difflib
import errno
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.errors import InputError
from study.errors import StudyError
from study.networks import own_code
from study.networks.own_code import OwnCode
from study.networks.roster import RosterRow

if TYPE_CHECKING:
    from torch import nn

_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # no property of a network: these end a stage
_USUAL = "num_classes"  # what timm, torchvision and most others call the number of outputs


@dataclass(frozen=True)
class Constructor:
    """Builds the network of a roster row: `constructor(pretrained)`, on the CPU or torch's default device."""

    row: RosterRow
    kwargs: dict[str, Any]
    function: Callable[..., object]
    own: OwnCode | None = None

    @classmethod
    def of(cls, row: RosterRow, code: Path) -> Constructor:
        """Raises StudyError for a name that nothing has, or a module that cannot be imported."""
        text, kwargs = str(row["constructor"]), json.loads(row["kwargs"] or "{}")
        module, mark, name = text.partition(":")
        if not mark:
            return cls(row, kwargs, _listed(row, text, code))
        own = OwnCode(code, module) if own_code.is_own(row, code) else None
        try:
            found = own.load() if own else own_code.installed_module(module, code)
        except SystemExit as error:
            raise _ended(error, f"{row['name']}: importing {module}") from error
        except Exception as error:
            hint = (
                f"; {error.name} is neither a file of {code} nor installed"
                if isinstance(error, ModuleNotFoundError)
                else ""
            )
            raise told(error, f"{row['name']}: importing {module}{f' from {code}' if own else ''}", hint) from error
        function = getattr(found, name, None)
        if not callable(function):
            there = [each for each, value in vars(found).items() if callable(value) and not each.startswith("_")]
            raise StudyError(f"{row['name']}: module {module} has no function {name!r}{_near(name, there)}")
        return cls(row, kwargs, function, own)

    def __call__(self, pretrained: bool = False) -> nn.Module:
        """The network, with the weights of its hub if `pretrained`. Raises StudyError in the roster's words."""
        import torch
        from torch import nn

        row, given = self.row, {"pretrained": True, **self.kwargs} if pretrained else self.kwargs
        doing = f"{row['name']}: constructing it by {row['constructor']} with kwargs {json.dumps(self.kwargs)}"
        if pretrained and self.own is not None:
            doing += " and pretrained=True (weights hub)"
        self._check(given, doing)
        with self.own.active() if self.own else nullcontext():
            try:
                model: object = self.function(**given)
            except SystemExit as error:
                raise _ended(error, doing) from error
            except TypeError as error:
                raise StudyError(f"{doing} fails: {_line(error)}{_allowed(self.function, str(error))}") from error
            except Exception as error:
                if pretrained and isinstance(error, OSError | RuntimeError):
                    raise  # most likely its hub
                raise told(error, doing) from error
        if isinstance(model, torch.jit.ScriptModule):
            raise StudyError(
                f"{row['name']}: {row['constructor']} gives a network of TorchScript, whose layers cannot be read one by one; "
                "build the network by its Python code, and save its state_dict() as the file of weights"
            )
        if not isinstance(model, nn.Module):
            raise StudyError(
                f"{row['name']}: {row['constructor']} gives {type(model).__name__}, it must give a torch.nn.Module"
            )
        if self.own is not None:
            self.own.follow(model)
        return model

    @property
    def outputs(self) -> str:
        """What the constructor calls the number of outputs."""
        return next((name for name in _parameters(self.function) or () if "class" in name), _USUAL)

    def _check(self, given: dict[str, Any], doing: str) -> None:
        """Compare arguments with the signature, where it names them all."""
        known = _parameters(self.function)
        if known is None:
            return
        try:
            inspect.signature(self.function).bind(**given)
        except TypeError as error:
            wrong = [name for name in given if name not in known]
            hints = "".join(_near(name, known) for name in wrong)
            allowed = ", ".join(known) or "none"
            raise StudyError(
                f"{doing}: {_line(error)}{hints}; allowed are {allowed}. Correct the column kwargs"
            ) from None


def told(error: Exception, doing: str, advice: str = "") -> Exception:
    """An error of code that is not ours, between what was being done and advice; no property of the network as it is."""
    if isinstance(error, InputError) or (isinstance(error, OSError) and error.errno in _OF_DISK):
        return error
    return StudyError(f"{doing} fails: {type(error).__name__}: {_line(error)}{advice}")


def _listed(row: RosterRow, text: str, code: Path) -> Callable[..., object]:
    """What timm or torchvision builds under a name."""
    import timm
    import torchvision

    architecture, _, tag = text.partition(".")
    if timm.is_model(architecture):
        tags = list(timm.models.get_arch_pretrained_cfgs(architecture))
        if tag and tags and text not in tags:
            raise StudyError(
                f"{row['name']}: timm has {architecture}, but not {text!r}; its weights are {', '.join(tags[:9])}"
                f"{', ...' if len(tags) > 9 else ''}{_near(text, tags)}"
            )
        return lambda **kwargs: timm.create_model(text, **kwargs)
    vision = torchvision.models.list_models()
    if text in vision:
        return lambda pretrained=False, **kwargs: torchvision.models.get_model(
            text, weights="DEFAULT" if pretrained else None, **kwargs
        )
    module, _, function = text.rpartition(".")
    meant = (
        f"; did you mean {module}:{function}?"
        if module and own_code.is_own({**row, "constructor": f"{module}:"}, code)
        else ""
    )
    near = meant or _near(text, [*timm.list_models(), *vision, *(timm.list_pretrained() if tag else ())])
    raise StudyError(
        f"{row['name']}: constructor {text!r} is no timm name, no torchvision name and not of the form module:function{near}"
    )


def _ended(error: SystemExit, doing: str) -> StudyError:
    """Code that ends the program, as one that reads a command line does where there is none."""
    return StudyError(
        f"{doing} ends the program (exit {error.code!r}). What a script does when it is run belongs behind "
        'if __name__ == "__main__"'
    )


def _near(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, list(dict.fromkeys(known)), 3, 0.7)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _parameters(function: Callable[..., Any]) -> list[str] | None:
    """Names of the arguments of a function, None where it takes any or cannot be asked."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]


def _allowed(function: Callable[..., Any], message: str) -> str:
    """The arguments of the class that refused one, where a message of Python names them."""
    found = re.match(r"(?:\w+\.)*?(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", message)
    if found is None:
        return ""
    kind = next((value for module in _modules_of(function) if (value := getattr(module, found[1], None))), None)
    known = [name for name in (_own_parameters(kind) if kind else []) if name != "self"]
    return f"{_near(found[2], known)}; {found[1]} takes {', '.join(known)}" if known else ""


def _own_parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return [
            each.name for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_KEYWORD
        ]
    except (TypeError, ValueError):
        return []


def _modules_of(function: Callable[..., Any]) -> list[Any]:
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith(("timm.models.", "torchvision.models.")) or name == function.__module__
    ]


def _line(error: Exception) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(error)).split())[:400]
