"""Networks of the user's own code: their modules kept apart from all others, and a record of the files that they came from.

A constructor `module:function` is looked for in the code folder, else among what is installed. Code of that folder runs as if
Python had been started there: its files import each other by name. Every network has modules of its own, so that two rows
whose files have equal names do not mix, and so that the record of a network does not hang on what was loaded before it.

A record holds the Python files that were loaded, all other files of the code folder (libraries in other languages open files
unheard), and what was loaded or opened outside of it and of all that is installed. The last are files that DVC does not see:
they are noted in the work store, where the stage `inputs` finds them in the next run.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import sysconfig
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from interpretability.files import sha256_file
from study.command import CHECKOUT
from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import read_json, write_json
from study.log import logger
from study.networks.process_settings import ProcessSettings

if TYPE_CHECKING:
    from torch import nn

    from study.networks.roster import RosterRow

log = logger("models")

_NO_MODULE = ("control", "of", "table")  # what a constructor may begin with and is no module
_KEPT = sys.stdlib_module_names | {"numpy", "torch", "torchvision"}  # what own code never stands in for


class OwnCode:
    """Modules of one network from the code folder, and the files that were read there for them."""

    def __init__(self, code: Path, module: str) -> None:
        self._code, self._module = _absolute(code), module
        self._file = _file_of(self._code, module)
        # files beside the constructor's are found by their names too
        self._places = list(dict.fromkeys([str(self._code), str(self._file.parent)]))
        self._tops = (_importable(self._places) | {module.split(".")[0]}) - _KEPT
        self._modules: dict[str, ModuleType] = {}
        self._around: tuple[list[str], dict[str, ModuleType], set[str]] = ([], {}, set())
        self._depth = 0
        self._thread = 0
        self._not_of_user = _installed_places()
        self._settings = ProcessSettings()
        self.opened: set[str] = set()

    def load(self) -> ModuleType:
        """The module that the row names."""
        with self.active():
            importlib.invalidate_caches()  # a file may have been written a moment ago
            top = self._module.split(".")[0]
            if top in _KEPT:
                return _from_file(f"user_code.{self._module}", self._file)
            spec = importlib.machinery.PathFinder.find_spec(top, self._places)
            if spec is not None and _lies_in(self._code, spec):
                module = importlib.import_module(self._module)
                if os.path.abspath(module.__file__ or "") == str(self._file):
                    return module
            return _from_file(self._module, self._file)

    @contextmanager
    def active(self) -> Generator[None]:
        """Within, imports find the code folder first, and this network's modules."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in self._tops}
        self._around = (list(sys.path), hidden, set(sys.modules))
        sys.path[:0] = self._places
        sys.modules.update(self._modules)
        _listen()
        self._thread, self._settings = threading.get_ident(), ProcessSettings.now()
        _ACTIVE.append(self)

    def leave(self) -> None:
        self._depth -= 1
        if self._depth:
            return
        _ACTIVE.remove(self)
        self._settings.restore()
        path, hidden, others = self._around
        # code may name more folders to import from
        self._places += [place for place in sys.path if place not in path and place not in self._places]
        new = [
            name
            for name in sys.modules.keys() - others
            if self._is_of_user(getattr(sys.modules[name], "__file__", None))
        ]
        self._tops |= {name.split(".")[0] for name in new} - _KEPT
        mine = [name for name in sys.modules if name.split(".")[0] in self._tops]
        self._modules = {name: sys.modules.pop(name) for name in mine}
        sys.path[:] = path
        sys.modules.update(hidden)

    def follow(self, model: nn.Module) -> None:
        """Be active while the network runs, for what it imports only then."""
        _OF[model] = self
        model.register_forward_pre_hook(lambda *_: self.enter())
        model.register_forward_hook(lambda *_: self.leave(), always_call=True)

    def files(self) -> list[str]:
        """Files that determine the network: by their place in the code folder, or whole paths for those outside of it."""
        loaded = {os.path.abspath(module.__file__) for module in self._modules.values() if module.__file__}
        read = {Path(path) for path in loaded | self.opened if self._is_of_user(path)} | set(_no_python(self._code))
        return sorted(
            path.relative_to(self._code).as_posix() if self._is_inside(str(path)) else str(path)
            for path in read
            if path.is_file() and "__pycache__" not in path.parts
        )

    def hears(self, path: str) -> None:
        # other threads read the images of the study meanwhile
        if threading.get_ident() == self._thread and self._is_of_user(path):
            self.opened.add(os.path.abspath(path))

    def _is_inside(self, path: object) -> bool:
        return isinstance(path, str) and os.path.abspath(path).startswith(f"{self._code}{os.sep}")

    def _is_of_user(self, path: object) -> bool:
        return self._is_inside(path) or (
            isinstance(path, str) and not os.path.abspath(path).startswith(self._not_of_user)
        )


@cache
def _installed_places() -> tuple[str, ...]:
    """Beginnings of the paths of what is no file of a user: what is installed, the system, this program, and kept downloads,
    whose weights have digests of their own.
    """
    import torch
    from huggingface_hub import constants

    program = [f"{CHECKOUT / name}" for name in ("benchmarks", "interpretability", "stages", "study", "tests", "tools")]
    kept = [
        torch.hub.get_dir(),
        constants.HF_HOME,
        str(Path.home() / ".cache"),
        str(Path.home() / ".config"),
    ]
    system = [*map(os.path.abspath, (sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib")))]
    system += [f"/{name}" for name in ("bin", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "sys", "usr", "var")]
    return tuple(f"{os.path.abspath(place)}{os.sep}" for place in (*program, *kept, *system))


def _no_python(code: Path) -> list[Path]:
    """Files of the code folder that are neither Python nor a description."""
    return [
        path
        for path in code.rglob("*")
        if path.suffix not in (".py", ".pyc", ".md")
        and not any(part.startswith(".") for part in path.relative_to(code).parts)
    ]


_ACTIVE: list[OwnCode] = []
_OF: WeakKeyDictionary[nn.Module, OwnCode] = WeakKeyDictionary()


@cache
def _listen() -> None:
    """Note which files are opened while own code is active: settings that a network reads belong to its code."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not _ACTIVE or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            _ACTIVE[-1].hears(os.fsdecode(arguments[0]))

    sys.addaudithook(heard)


def module_of(row: RosterRow) -> str:
    """Module of a constructor `module:function`, empty for other constructors."""
    module, mark, _ = str(row["constructor"]).partition(":")
    return module if mark and module not in _NO_MODULE else ""


def is_own(row: RosterRow, code: Path) -> bool:
    """Whether a row is built by a file of the code folder."""
    return bool(module_of(row)) and _file_of(_absolute(code), module_of(row)).is_file()


def record(row: RosterRow, code: Path, model: nn.Module) -> str:
    """Which code a network came from, as JSON: its files and their digests, or the package and its version.

    Empty for timm's and torchvision's names. Files that the network reads only when it runs count once it has run.
    """
    if not module_of(row):
        return ""
    own = _OF.get(model)
    return json.dumps(_digests(code, own.files()) if own else _installed(module_of(row)), sort_keys=True)


def note_outside(row: RosterRow, code: Path, recorded: str) -> None:
    """Keep in the work store which files outside of the code folder a record names, for the next look at the inputs."""
    if outside := [name for name in json.loads(recorded or "{}") if os.path.isabs(name)]:
        shown = ", ".join(outside[:3]) + (", ..." if len(outside) > 3 else "")
        log.info(
            "%s: its code reads %s, outside of %s; the next run looks whether that changed", row["name"], shown, code
        )
        store, key = WorkStore.open(), _key(row, code)
        with store.locked("outside_code", [key], ".json"):
            store.write("outside_code", key, ".json", partial(write_json, content={"files": outside}))


def outside_files(row: RosterRow, code: Path) -> list[Path]:
    """Files of a network's code that DVC does not see: those that were noted when it was last built, and those of an installed
    package that is no release.
    """
    if not module_of(row):
        return []
    noted = WorkStore.open().find("outside_code", _key(row, code), ".json")
    known = [Path(name) for name in read_json(noted)["files"]] if noted else []
    return [*known, *([] if is_own(row, code) else code_files(row, code))]


def _key(row: RosterRow, code: Path) -> dict[str, str]:
    return {"constructor": row["constructor"], "kwargs": row["kwargs"], "code": str(_absolute(code))}


def record_unseen(row: RosterRow, code: Path) -> str:
    """As `record`, before a network is built: of all Python files of the code folder."""
    if not module_of(row):
        return ""
    if not is_own(row, code):
        return json.dumps(_installed(module_of(row)), sort_keys=True)
    folder = _absolute(code)
    return json.dumps(_digests(code, [path.relative_to(folder).as_posix() for path in code_files(row, code)]))


def code_files(row: RosterRow, code: Path) -> list[Path]:
    """Python files in which a change may change a network, in their order, found without loading it: those of the code folder,
    or those of an installed package that are no release of a distribution.
    """
    module = module_of(row)
    if not module:
        return []
    if is_own(row, code):
        return sorted(path for path in _absolute(code).rglob("*.py") if path.is_file())
    return [] if _release(module) else _package_files(_origin(module))


def refuse_changed(row: RosterRow, code: Path) -> None:
    """Raise StudyError where files of a resolved row are others than the stage `models` saw."""
    known = row.get("code")
    if not known:
        return
    before: dict[str, str] = json.loads(known)
    now = _digests(code, before) if is_own(row, code) else _installed(module_of(row))
    if changed := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        raise _changed(row, changed)


def refuse_new(row: RosterRow, model: nn.Module) -> None:
    """Raise StudyError where a resolved row loaded files of the code folder that it did not load in the stage `models`."""
    known, own = row.get("code"), _OF.get(model)
    if known and own is not None and (new := sorted(set(own.files()) - set(json.loads(known)))):
        raise _changed(row, new)


def installed_module(name: str, code: Path) -> ModuleType:
    """A module that is installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but lacks another one
        path = _file_of(code, name)
        raise StudyError(
            f"module {name} is neither at {path} nor installed; put {path.name} there or correct the constructor"
        ) from None


def _changed(row: RosterRow, files: list[str]) -> StudyError:
    shown = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    return StudyError(
        f"{row['name']}: its code is not what the stage `models` saw: {shown} changed since; run `dvc repro` so that all stages "
        "see the same code"
    )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # with links left as they are: code may be linked into the folder


def _file_of(code: Path, module: str) -> Path:
    return code / f"{module.replace('.', '/')}.py"


def _from_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StudyError(f"{path} is no Python file that can be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _importable(places: list[str]) -> set[str]:
    """Names at the top of these folders that an import finds there."""
    found = set()
    for place in places:
        for path in Path(place).iterdir() if Path(place).is_dir() else ():
            name = path.name.split(".")[0]
            if not name.isidentifier() or name == "__pycache__" or not (path.is_dir() or path.suffix in (".py", ".so")):
                continue
            # a folder without __init__.py stands behind an installed package of its name
            spec = importlib.machinery.PathFinder.find_spec(name, [*places, *sys.path])
            if spec is not None and _lies_in(Path(place), spec):
                found.add(name)
    return found


def _lies_in(folder: Path, spec: importlib.machinery.ModuleSpec) -> bool:
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(Path(os.path.abspath(place)).is_relative_to(folder) for place in places)


def _digests(code: Path, files: Any) -> dict[str, str]:
    """Digest of each file of the code folder, empty where it is not there."""
    paths = {name: code / name for name in files}
    return {name: sha256_file(path) if path.is_file() else "" for name, path in paths.items()}


def _installed(module: str) -> dict[str, str]:
    """The release that a module belongs to; without one, digests of all files of its package."""
    if known := _release(module):
        return known
    package = _origin(module)
    files = _package_files(package)
    return {path.relative_to(package.parent).as_posix(): sha256_file(path) for path in files} or {module: "built in"}


def _release(module: str) -> dict[str, str]:
    """Name and version of the distribution whose files hold a module; empty for one that is linked to be edited."""
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return {"python": ".".join(map(str, sys.version_info[:3]))}
    origin = _origin(module)
    for name in packages_distributions().get(top, []):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        home = Path(os.path.abspath(str(found.locate_file(""))))
        if home.name in ("site-packages", "dist-packages") and origin.is_relative_to(home):
            return {name: found.version}
    return {}


def _origin(module: str) -> Path:
    """The file or folder of a module's top package; a path that is none for what has no file."""
    spec = importlib.util.find_spec(module.split(".")[0])
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    return next((Path(os.path.abspath(place)) for place in places if place), Path(os.devnull))


def _package_files(package: Path) -> list[Path]:
    """All Python files of a package, or the file that is the module."""
    files = package.rglob("*.py") if package.is_dir() else [package]
    return sorted(path for path in files if path.is_file())
