"""Weights are found by name, fetched once and verified, and never run."""

import hashlib
import io
import json
import urllib.error
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from interpretability import weights
from interpretability.errors import InputError
from interpretability.weights import WeightsFile
from study.errors import message_of

URL = "https://example.org/models/net-12345678.pth"


class Answer(io.BytesIO):
    """What a hub sends."""

    def __init__(self, content, announced=None):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if announced is None else announced)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    return tmp_path


def unreachable(url, timeout):
    raise urllib.error.URLError("no route to host")


def checkpoint():
    buffer = io.BytesIO()
    torch.save({"x": torch.arange(3.0)}, buffer)
    return buffer.getvalue()


def test_a_given_file_is_found_under_any_accepted_name(folder):
    save_file({"x": torch.ones(2)}, folder / "mine.safetensors")
    assert weights.load(WeightsFile(("net-12345678.pth", "mine.safetensors"), URL, "12345678"), folder)[
        "x"
    ].tolist() == [1, 1]


def test_offline_and_missing_is_one_error_that_says_what_to_do(folder):
    with pytest.raises(InputError) as error:
        weights.load(WeightsFile(("net-12345678.pth", "mine.safetensors"), URL), folder)
    for part in ("net-12345678.pth", URL, str(folder), "mine.safetensors", "no route"):
        assert part in str(error.value)
    assert str(error.value).endswith(". weights names another folder")
    assert message_of(error.value).endswith(". The variable MIS_WEIGHTS names another folder")


def test_a_file_is_fetched_once_and_kept(folder, monkeypatch):
    content = checkpoint()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(content))
    assert weights.load(WeightsFile(("net.pth",), URL, digest[:8]), folder)["x"].tolist() == [0, 1, 2]
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    assert weights.load(WeightsFile(("net.pth",), URL, digest[:8]), folder)["x"].tolist() == [0, 1, 2]


def test_short_or_other_files_are_not_kept(folder, monkeypatch):
    content = checkpoint()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(content, len(content) + 1))
    with pytest.raises(InputError, match="bytes arrived"):
        weights.load(WeightsFile(("net.pth",), URL), folder)
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(content))
    with pytest.raises(InputError, match="sha256"):
        weights.load(WeightsFile(("net.pth",), URL, "00000000"), folder)
    assert not (folder / "net.pth").exists()


def test_a_damaged_file_in_the_folder_is_noticed(folder):
    (folder / "net.pth").write_bytes(checkpoint())
    with pytest.raises(InputError, match="remove it"):
        weights.load(WeightsFile(("net.pth",), URL, "00000000"), folder)


def test_code_in_a_file_is_not_run(folder):
    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(folder / 'ran')!r}, 'w')",)

    torch.save({"x": Trap()}, folder / "net.pth")
    with pytest.raises(InputError, match="refused"):
        weights.load(WeightsFile(("net.pth",), URL), folder)
    assert not (folder / "ran").exists()


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/").replace("UP", ".."), content)
    return buffer.getvalue()


def test_members_of_an_archive_are_kept_under_their_names(folder, monkeypatch):
    content = archive(lora__config=json.dumps({"r": 4}), **{"lora__config.json": '{"r": 4}', "net.pth": checkpoint()})
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(content))
    url = "https://example.org/all.zip"
    assert weights.load(WeightsFile(("lora/config.json",), url), folder) == {"r": 4}
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    assert weights.load(WeightsFile(("net.pth",), url), folder)["x"].tolist() == [0, 1, 2]
    assert not (folder / "all.zip").exists()


def test_archives_that_point_elsewhere_or_lack_the_file_are_refused(folder, monkeypatch):
    url = "https://example.org/all.zip"
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(archive(UP__net="x")))
    with pytest.raises(InputError, match="points out"):
        weights.load(WeightsFile(("net.pth",), url), folder)
    (folder / "all.zip").unlink()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Answer(archive(other="x")))
    with pytest.raises(InputError, match=r"does not hold net\.pth"):
        weights.load(WeightsFile(("net.pth",), url), folder)
