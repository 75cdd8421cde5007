"""The Markdown pages of the repository: their headings, links, tables and blocks of code."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from tests.helpers.rules import ROOT


@cache
def pages():
    """Every Markdown page that git keeps, but captions (templates of the report) and texts of the experiment."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return sorted(ROOT / name for name in listed if not name.startswith(("reports/", "experiment/")))


def prose(text):
    """The page without its blocks of code, line by line, so that numbers of lines stay."""
    fenced, out = False, []
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        out.append("" if fenced or fence or line.startswith("    ") else line)
    return "\n".join(out)


def anchors(path):
    """Anchors of a page's headings, as GitHub makes them: lower case, hyphens for spaces, -1 behind a second one."""
    seen: dict[str, int] = {}
    found = set()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", prose(path.read_text(encoding="utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        n = seen.get(anchor, 0)
        seen[anchor] = n + 1
        found.add(f"{anchor}-{n}" if n else anchor)
    return found


def links(path):
    """Targets of all links and images of a page."""
    text = re.sub(r"`[^`]*`", "", prose(path.read_text(encoding="utf-8")))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def code(path):
    """Blocks of code of a page, dedented: fenced or indented by four spaces behind an empty line."""
    blocks: list[list[str]] = []
    fenced, inside, empty = False, False, True
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
            if fenced:
                blocks.append([])
            continue
        if fenced:
            blocks[-1].append(line)
            continue
        if line.startswith("    ") and (inside or empty):
            if not inside:
                blocks.append([])
            inside = True
            blocks[-1].append(line[4:])
        elif line.strip():
            inside = False
        empty = not line.strip()
    return ["\n".join(block) for block in blocks]


def commands(path):
    """Command lines of a page, continued lines joined and remarks left out: of its blocks of code, and between backticks."""
    said = [re.sub(r"\\\n\s*", " ", block) for block in code(path)]
    said += re.findall(r"`([^`]+)`", re.sub(r"\s+", " ", prose(path.read_text(encoding="utf-8"))))
    starts = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:python -m|dvc|make|\.ci/run)(?: |$)")
    lines = [line for text in said for line in re.split(r"\n| && |; (?=do )|; ", text)]
    return [
        line
        for line in (re.sub(r"\s+#\s.*$", "", line.removeprefix("do ").strip()) for line in lines)
        if starts.match(line)
    ]


def rows(path):
    """Cells of every table row of a page; bars inside backticks do not part cells."""
    found = []
    for line in prose(path.read_text(encoding="utf-8")).splitlines():
        if line.startswith("|"):
            cells = (
                re.sub(r"`[^`]*`", lambda match: match.group().replace("|", "\0"), line).strip().strip("|").split("|")
            )
            found.append([cell.strip().replace("\0", "|") for cell in cells])
    return found


def braces(text):
    """What a shell makes of a{b,c}: ab and ac."""
    if not (match := re.search(r"\{([^{}]*)\}", text)):
        return [text]
    before, after = text[: match.start()], text[match.end() :]
    return [each for part in match[1].split(",") for each in braces(before + part + after)]


def relative(path: Path):
    return path.relative_to(ROOT).as_posix()
