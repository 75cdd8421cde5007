"""Chromium without a window, driven over its debugging pipe: pages of local files, with all that they log and ask for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PATIENCE = 60  # seconds without any word from the browser
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
)


def executable() -> str | None:
    """Path of an installed Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. `problems` collects console errors and exceptions, `requests` every address that was asked for."""

    def __init__(self, *, javascript: bool = True) -> None:
        path = executable()
        assert path is not None
        self._profile = tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True)
        (into, self._write), (self._read, out) = os.pipe(), os.pipe()
        # the browser reads commands from descriptor 3 and answers on descriptor 4
        command = f'exec "$0" "$@" 3<&{into} 4>&{out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, path, *FLAGS, f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe"],
            pass_fds=(into, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(into)
        os.close(out)
        self._buffer, self._number, self._session = b"", 0, None
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        if not javascript:
            self.send("Emulation.setScriptExecutionDisabled", value=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._session = None
            self.send("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of one command of the protocol."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while (answer := self._receive()).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        """Next message; events are noted on the way."""
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], PATIENCE)[0], f"the browser was silent for {PATIENCE} s"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(line)
        found = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(found["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(str(found["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if found["type"] in ("error", "warning", "assert"):
                self.problems.append(str(found["args"]))
            case "Log.entryAdded" if found["entry"]["level"] in ("error", "warning"):
                self.problems.append(found["entry"]["text"])
        return message

    def open(self, path: Path, hash_: str = "", *, width: int = 1280, height: int = 900) -> float:
        """Load a local file; returns the seconds until its load event."""
        mobile = width < 600
        self._loaded = False
        self.send("Page.navigate", url="about:blank")  # another place of the same file would be no new load
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        while not self._loaded:
            self._receive()
        self._loaded = False
        start = time.perf_counter()
        self.send("Page.navigate", url=path.resolve().as_uri() + hash_)
        while not self._loaded:
            self._receive()
        return time.perf_counter() - start

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until events of the last action have been handled."""
        self.run("new Promise(done => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 20)), 20))")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """PNG of what is visible, or of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
