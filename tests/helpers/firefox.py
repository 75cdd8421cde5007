"""Debian's Firefox without a window, driven over WebDriver BiDi on one websocket: the same few methods as Chromium's tab."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

PATIENCE = 60  # seconds without any word from the browser
EVENTS = ("log.entryAdded", "network.beforeRequestSent", "network.responseCompleted", "network.fetchError")
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
LEFT = "NS_BINDING_ABORTED"  # what became of a request whose page was left
KEYS = {"Tab": "\ue004", "Enter": "\ue006", "Escape": "\ue00c", "Space": " ", "Shift": "\ue008", "Numpad": 0xE01A}


def executable() -> str | None:
    """Path of Debian's Firefox, None where there is none."""
    return shutil.which("firefox-esr")


class Firefox:
    """One tab. `problems` are errors, warnings and violations of the policy, `requests` all addresses asked for,
    `statuses` what they ended with, in the order of time."""

    def __init__(self):
        path = executable()
        assert path is not None
        self._home = tempfile.TemporaryDirectory(prefix="firefox", ignore_cleanup_errors=True)
        wishes = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        Path(self._home.name, "user.js").write_text("\n".join(wishes))
        command = [path, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", self._home.name]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # the file comes before the socket listens, so the line on stderr is what to wait for
        line = next(each for each in self._process.stderr if "WebDriver BiDi listening on" in each)
        self._open = ExitStack()
        self._socket = self._open.enter_context(connect(re.search(r"ws://\S+", line)[0] + "/session", max_size=None))
        self._number = 0
        self.problems, self.requests, self.statuses = [], [], []
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=list(EVENTS))
        self._tab = self.send("browsingContext.getTree")["contexts"][0]["context"]
        self.anew()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stderr.close()
            self._open.close()
            self._home.cleanup()

    def anew(self) -> None:
        """Another tab in place of the present one, with nothing noted.

        The one that Firefox starts with never gets the focus of a window that no screen shows: Enter would press no button.
        """
        last, self._tab = self._tab, self.send("browsingContext.create", type="tab")["context"]
        self.send("browsingContext.close", context=last)
        for noted in (self.problems, self.requests, self.statuses):
            noted.clear()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of one command; events are noted on the way."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv(PATIENCE))).get("id") != self._number:
            self._note(message.get("method"), message.get("params", {}))
        assert message["type"] == "success", f"{method}: {message}"
        return message["result"]

    def _note(self, method: str | None, found: dict[str, Any]) -> None:
        match method:
            case "log.entryAdded" if found["level"] in ("error", "warn"):
                self.problems.append(found["text"])
            case "network.beforeRequestSent" if found["context"]:
                self.requests.append(found["request"]["url"])
            case "network.responseCompleted" if found["context"]:
                self.statuses.append((found["request"]["url"], found["response"]["status"]))
            case "network.fetchError" if found["context"] and found["errorText"] != LEFT:
                self.statuses.append((found["request"]["url"], found["errorText"]))

    def open(self, address: str, *, width: int = 1280, height: int = 900) -> None:
        """Load an address into a window of that size."""
        self.send("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})
        self.send("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def reload(self) -> None:
        self.send("browsingContext.reload", context=self._tab, wait="complete")

    def history(self, step: int) -> None:
        """Go back (-1) or forward (1)."""
        self.send("browsingContext.traverseHistory", context=self._tab, delta=step)

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page; a promise is awaited."""
        told = f"(async () => JSON.stringify(await ({script})) ?? 'null')()"
        answer = self.send("script.evaluate", expression=told, target={"context": self._tab}, awaitPromise=True)
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def wait(self, condition: str, seconds: float = 10.0) -> Any:
        """First value of an expression that is true."""
        end = time.monotonic() + seconds
        while not ((value := self.run(condition)) or isinstance(value, dict | list)):  # empty ones are true there
            shown = self.run("document.body.innerText.slice(0, 500)")
            assert time.monotonic() < end, f"not true within {seconds:g} s: {condition}; the page shows {shown!r}"
            time.sleep(0.02)
        return value

    def press(self, code: str, *, shift: bool = False) -> None:
        """Press and release the key of that `KeyboardEvent.code`."""
        place, sign = code[:-1], code[-1]
        value = KEYS[code] if code in KEYS else chr(KEYS["Numpad"] + int(sign)) if place == "Numpad" else sign.lower()
        values = [KEYS["Shift"], value] if shift else [value]
        actions = [{"type": "keyDown", "value": each} for each in values]
        actions += [{"type": "keyUp", "value": each} for each in reversed(values)]
        self._act({"type": "key", "id": "keys", "actions": actions})

    def click(self, css: str) -> None:
        """Click the middle of the first element of a selector."""
        place = "(e => {e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
        place += "return [b.x + b.width / 2, b.y + b.height / 2]})"
        x, y = self.run(f"{place}(document.querySelector({json.dumps(css)}))")
        move = {"type": "pointerMove", "x": round(x), "y": round(y)}
        steps = [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._act({"type": "pointer", "id": "mouse", "actions": steps})

    def _act(self, source: dict[str, Any]) -> None:
        self.send("input.performActions", context=self._tab, actions=[source])
