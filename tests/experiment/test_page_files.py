"""What browsers are served: our own files and the core of jsPsych, small, without a third party, locked by digests."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from experiment.assets import CORE, ENTRIES, LATER, PAGE, TYPES, Assets, joined, later
from study.errors import StudyError
from tests.helpers.programs import needs

MOST_BYTES = 40_000
MOST_OF_A_KIND = 4_000  # of what pages of one kind load beside that
PARTICIPANTS = ("index.html", "style.css", "app.js", CORE[0])
TEXTS = sorted(path for path in PAGE.iterdir() if path.suffix in TYPES)
MODULES = [path for path in TEXTS if path.suffix == ".js"]
ADDRESS = re.compile(r"https?://[^\s\"'<>]+")
SVG = "http://www.w3.org/2000/svg"  # the name of a language, which nothing asks for
LOCK = json.loads((PAGE / "package-lock.json").read_text(encoding="utf-8"))


# --- the lock


def faults(lock):
    """What of a lock would let a package in unchecked, or from an address that someone wrote there."""
    found = [f"address {address}" for address in ADDRESS.findall(json.dumps(lock))]
    for name, package in lock["packages"].items():
        if name and not re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package.get("integrity", "")):
            found.append(f"{name} without sha512")
        if "resolved" in package:
            found.append(f"{name} from an address")
    return found


def test_every_package_is_locked_by_its_digest():
    assert set(LOCK["packages"]) > {"", "node_modules/jspsych", "node_modules/axe-core"}
    assert faults(LOCK) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda package: package.pop("integrity"), "node_modules/jspsych without sha512"),
        (lambda package: package.update(integrity="sha1-" + "A" * 27 + "="), "node_modules/jspsych without sha512"),
        (lambda package: package.update(resolved="file:x.tgz"), "node_modules/jspsych from an address"),
        (lambda package: package.update(funding="https://else.where/x"), "address https://else.where/x"),
    ],
)
def test_a_lock_that_lets_something_in_is_noticed(change, fault):
    lock = json.loads(json.dumps(LOCK))
    change(lock["packages"]["node_modules/jspsych"])
    assert faults(lock) == [fault]


def test_only_jspsych_is_served_and_axe_is_for_tests():
    wanted = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))
    assert wanted["dependencies"] == {"jspsych": LOCK["packages"]["node_modules/jspsych"]["version"]}
    assert wanted["devDependencies"] == {"axe-core": LOCK["packages"]["node_modules/axe-core"]["version"]}
    assert LOCK["packages"]["node_modules/axe-core"]["dev"] is True


def test_the_notices_name_every_package_that_is_served_and_its_licence():
    notices = (PAGE / "notices.html").read_text(encoding="utf-8")
    served = {name: package for name, package in LOCK["packages"].items() if name and not package.get("dev")}
    assert len(served) == 5
    for name, package in served.items():
        assert (
            f"<strong>{name.removeprefix('node_modules/')}</strong> {package['version']}</dt>\n<dd>Copyright ©"
            in notices
        )
        assert "MIT" in package["license"]
    assert "The above copyright notice and this permission notice shall be included in all copies" in notices


@needs("npm packages")
def test_the_notices_name_the_authors_that_the_packages_name():
    notices = (PAGE / "notices.html").read_text(encoding="utf-8")
    for name, package in LOCK["packages"].items():
        if name and not package.get("dev"):
            said = json.loads((PAGE / name / "package.json").read_text(encoding="utf-8"))
            author = said["author"] if isinstance(said["author"], str) else said["author"]["name"]
            assert said["version"] == package["version"]
            assert re.search(rf"{said['name']}</strong>[^\n]*\n<dd>Copyright ©[^<]*{author}", notices)


# --- npm holds to the lock: tried with a registry of one small package on this machine


@pytest.fixture
def registry():
    """An address of a registry with the package `small`, and the digest of its tarball."""
    content = json.dumps({"name": "small", "version": "1.0.0"}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    tarball = buffer.getvalue()

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self):
            dist = {"tarball": f"{address}/small/-/small-1.0.0.tgz"}
            version = {"name": "small", "version": "1.0.0", "dist": dist}
            about = {"name": "small", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
            body = tarball if self.path.endswith(".tgz") else json.dumps(about).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address, "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    server.shutdown()
    thread.join()
    server.server_close()


def installed(folder, address, integrity):
    """What `npm ci` says with our settings and a lock that has this digest."""
    shutil.copy(PAGE / ".npmrc", folder)
    wanted = {"name": "page", "version": "0.0.0", "dependencies": {"small": "1.0.0"}}
    small = {"version": "1.0.0", **({"integrity": integrity} if integrity else {})}
    lock = {"name": "page", "version": "0.0.0", "lockfileVersion": 3, "requires": True}
    (folder / "package.json").write_text(json.dumps(wanted))
    (folder / "package-lock.json").write_text(
        json.dumps(lock | {"packages": {"": wanted, "node_modules/small": small}})
    )
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    words += [
        "--registry",
        address,
        "--cache",
        str(folder / "cache"),
        "--userconfig",
        os.devnull,
        "--fetch-retries",
        "0",
    ]
    direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "npm_config_noproxy": "127.0.0.1"}
    return subprocess.run(
        words, cwd=folder, env=os.environ | direct, capture_output=True, text=True, check=False, timeout=60
    )


@needs("npm")
def test_npm_installs_what_the_lock_says(registry, tmp_path):
    address, digest = registry
    done = installed(tmp_path, address, digest)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "node_modules/small/package.json").is_file()


@needs("npm")
def test_npm_refuses_another_digest_and_installs_nothing(registry, tmp_path):
    address, digest = registry
    other = "sha512-" + base64.b64encode(bytes(64)).decode()
    assert other != digest
    done = installed(tmp_path, address, other)
    assert done.returncode != 0
    assert "EINTEGRITY" in done.stderr
    assert not (tmp_path / "node_modules/small").exists()


@needs("npm")
def test_npm_says_nothing_where_a_digest_is_missing(registry, tmp_path):
    """Why the lock itself is tested above."""
    done = installed(tmp_path, registry[0], None)
    assert done.returncode == 0
    assert (tmp_path / "node_modules/small/package.json").is_file()


# --- what is served


class _Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def inline(text):
    """What of a page a strict policy would stop: scripts, styles and handlers in the page itself, addresses elsewhere."""
    found = []
    for tag, attributes in _Tags(text).tags:
        if (
            tag == "style"
            or (tag == "script" and not attributes.get("src"))
            or tag in ("iframe", "object", "embed", "base")
        ):
            found.append(tag)
        found += [f"{tag} {name}" for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href", "action"):
            if name in attributes and not re.match(r"/(?!/)|#", attributes[name]):
                found.append(f"{tag} {name}={attributes[name]}")
    return found


@pytest.mark.parametrize(
    "path", [path for path in TEXTS if path.suffix in (".html", ".svg")], ids=lambda path: path.name
)
def test_pages_hold_no_script_no_style_and_no_foreign_address(path):
    assert inline(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<script>1</script>", ["script"]),
        ("<style>a{}</style>", ["style"]),
        ("<p style='color:red' onclick='x()'>", ["p style", "p onclick"]),
        ("<img src='//else.where/x.png'>", ["img src=//else.where/x.png"]),
        ("<a href='javascript:1'>", ["a href=javascript:1"]),
    ],
)
def test_what_the_policy_would_stop_is_noticed(text, found):
    assert inline(text) == found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_files_name_no_address_and_nothing_that_makes_code_of_text(path):
    text = path.read_text(encoding="utf-8")
    assert [address for address in ADDRESS.findall(text) if address != SVG] == []
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|@import|url\(", text
    )
    assert not re.search(r"setAttribute\(\"style\"|sourceMappingURL|[\"'`(](data|blob):", text)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_script_needs_no_other(entry):
    text = joined(PAGE, entry)
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    assert not re.search(r"/\*|(^|\s)// ", text)


def test_every_module_is_part_of_a_script():
    """Names of modules begin lines of the source only, so what each defines is looked for."""
    scripts = "".join(joined(PAGE, entry) for entry in (*ENTRIES, *LATER))
    for path in MODULES:
        name = re.search(
            r"^(?:export )?(?:async )?(?:function|class|const) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert name is not None
        assert re.search(rf"\b{name[1]}\b", scripts), path.name


@needs("npm")
@pytest.mark.parametrize("entry", [*ENTRIES, *LATER])
def test_a_script_is_javascript(entry, tmp_path):
    """Two modules that give the same name to different things would stop it."""
    file = tmp_path / "script.mjs"
    file.write_text((later if entry in LATER else joined)(PAGE, entry), encoding="utf-8")
    done = subprocess.run(["node", "--check", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs("npm packages")
def test_what_a_participant_loads_is_small():
    assets = Assets.load()
    assert sum(len(assets[name].gzipped) for name in PARTICIPANTS) <= MOST_BYTES


@needs("npm packages")
@pytest.mark.parametrize("names", [("rating.js",), ("picking.js", "picking.css")])
def test_what_one_kind_of_page_loads_beside_it_is_small(names):
    assets = Assets.load()
    assert sum(len(assets[name].gzipped) for name in names) <= MOST_OF_A_KIND


@pytest.mark.parametrize("name", LATER)
def test_a_script_of_one_kind_exports_what_the_page_asks_of_it(name):
    text = later(PAGE, name)
    assert not re.search(r"^\s*import\b", text, re.MULTILINE)
    assert text.endswith("export { rated, explained };\n")
    assert text.count("export") == 1


@needs("npm packages")
def test_assets_are_the_files_and_their_compressed_form():
    assets = Assets.load()
    assert set(assets) == {path.name for path in TEXTS if path.suffix != ".js"} | {*ENTRIES, *LATER, CORE[0]}
    for name, asset in assets.items():
        assert gzip.decompress(asset.gzipped) == asset.body
        assert asset.media_type == TYPES["." + name.rsplit(".", 1)[1]]
    assert assets["index.html"].body == (PAGE / "index.html").read_bytes()


@needs("npm packages")
def test_the_core_comes_without_the_name_of_its_map():
    core = (PAGE / CORE[1]).read_bytes()
    served = Assets.load()[CORE[0]].body
    assert b"sourceMappingURL" in core
    assert b"sourceMappingURL" not in served
    assert core.startswith(served)
    assert len(core) - len(served) < 200


def test_missing_packages_are_named_with_the_way_to_get_them(tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("node_modules"))
    with pytest.raises(
        StudyError, match=r"node_modules/jspsych.* is missing.*'make experiment', or 'npm ci --ignore-scripts'"
    ):
        Assets.load(folder)


def test_styles_are_squeezed_without_a_change_of_meaning(tmp_path):
    """Spaces around minus and between names stay, spaces around braces, colons and semicolons go."""
    folder = tmp_path / "page"
    (folder / "node_modules/jspsych/dist").mkdir(parents=True)
    (folder / CORE[1]).write_text("core\n")
    (folder / "a.css").write_text(
        "/* of\ntwo lines */\n.a .b, p { --x: calc(1px - 2px); color: red; }\n@media (max-width: 9px) {\n p { top: 0; } }\n"
    )
    squeezed = Assets.load(folder)["a.css"].body.decode()
    assert squeezed == ".a .b,p{--x:calc(1px - 2px);color:red}@media (max-width:9px){p{top:0}}"


# --- digests of pictures


@needs("npm")
def test_digests_are_those_of_sha256(tmp_path):
    lengths = [*range(130), 1000, 100_003]
    script = tmp_path / "digests.mjs"
    script.write_text(
        joined(PAGE, "digest.js")
        + f"for (const n of {lengths}) console.log(sha256(Uint8Array.from({{length: n}}, (_, i) => (i * 7 + n) % 256).buffer));"
    )
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    wanted = [hashlib.sha256(bytes((i * 7 + n) % 256 for i in range(n))).hexdigest() for n in lengths]
    assert done.stdout.split() == wanted
