"""What browsers get from us besides pictures: our pages, styles and scripts, and the core of jsPsych, from memory.

jsPsych comes by npm into `experiment/page/node_modules`, which is no part of the repository; everything else is read from
`experiment/page`. A page's own modules become one script without comments, so that it is there after one request. Each file is
compressed once, when the server starts.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from study.errors import StudyError

PAGE = Path(__file__).parent / "page"
# the name under which it is served, and where npm puts it
CORE = "jspsych.js", "node_modules/jspsych/dist/index.browser.min.js"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
MAP_LINE = b"//# sourceMappingURL="
# scripts that pages name; all others are parts of them
ENTRIES = "app.js", "researcher.js"
# scripts that participants' pages of one kind load by themselves (`import()`), and that give what they export
LATER = "rating.js", "picking.js"
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to ask for the header of gzip
_IMPORT = re.compile(r"import \{[^}]+\} from \"\./([a-z]+\.js)\";")
_EXPORTED = re.compile(r"^export (?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
_EXPORT = re.compile(r"export (?=(?:async )?(?:function|class|const|let) )")
_COMMENT = re.compile(r"\s*/\*.*?\*/|(?:^|\s+)// .*?$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Asset:
    """One file: its bytes, the same compressed with gzip, and its content type."""

    body: bytes
    gzipped: bytes
    media_type: str


class Assets(Mapping[str, Asset]):
    """Files by the name that browsers ask for: `index.html`, `style.css`, `app.js`, `jspsych.js` and so on."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self._assets = {
            name: Asset(body, _gzipped(body), TYPES[Path(name).suffix]) for name, body in sorted(bodies.items())
        }

    def __getitem__(self, name: str) -> Asset:
        return self._assets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._assets)

    def __len__(self) -> int:
        return len(self._assets)

    @classmethod
    def load(cls, folder: Path = PAGE) -> Assets:
        """All files of the pages.

        Raises
        ------
        StudyError
            where the packages of npm are missing.
        """
        paths = (path for path in folder.iterdir() if path.suffix in TYPES and path.suffix != ".js")
        bodies = {path.name: _squeezed(path) for path in paths}
        scripts = {name: joined(folder, name).encode() for name in ENTRIES if (folder / name).is_file()}
        scripts |= {name: later(folder, name).encode() for name in LATER if (folder / name).is_file()}
        return cls(bodies | scripts | {CORE[0]: _core(folder)})


def _gzipped(body: bytes) -> bytes:
    """The shortest that zlib finds: which size of its tables is best depends on the file."""
    packers = (zlib.compressobj(9, zlib.DEFLATED, _GZIP, level) for level in (7, 8, 9))
    return min((packer.compress(body) + packer.flush() for packer in packers), key=len)


def _squeezed(path: Path) -> bytes:
    """A file as it is, but styles without comments and spaces that say nothing."""
    if path.suffix != ".css":
        return path.read_bytes()
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s*([{};,])\s*", r"\1", text).replace(": ", ":").replace(";}", "}").strip().encode()


def joined(folder: Path, entry: str) -> str:
    """One script of a module and all that it imports, those first that others need, without comments.

    Imports must name what they take (`import { a, b } from "./c.js";`) and top-level names must differ between modules: they
    share one scope here.
    """
    parts: dict[str, str] = {}
    _gather(folder, entry, parts)
    return "".join(parts.values())


def later(folder: Path, entry: str) -> str:
    """`joined` as a module: what the entry itself exports it still exports."""
    names = _EXPORTED.findall(_COMMENT.sub("", (folder / entry).read_text(encoding="utf-8")))
    return f"{joined(folder, entry)}export {{ {', '.join(names)} }};\n"


def _gather(folder: Path, name: str, parts: dict[str, str]) -> None:
    text = _COMMENT.sub("", (folder / name).read_text(encoding="utf-8"))
    for other in _IMPORT.findall(text):
        if other not in parts:
            _gather(folder, other, parts)
    lines = (_EXPORT.sub("", line.strip()) for line in _IMPORT.sub("", text).splitlines())
    parts[name] = "".join(f"{line}\n" for line in lines if line)


def _core(folder: Path) -> bytes:
    """jsPsych without the line that names its map, which browsers would ask for as soon as their tools are open."""
    path = folder / CORE[1]
    if not path.is_file():
        raise StudyError(
            f"{path} is missing: the pages need jsPsych, which npm fetches. "
            f"Run 'make experiment', or 'npm ci --ignore-scripts' in {folder}"
        )
    lines = path.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(MAP_LINE))
