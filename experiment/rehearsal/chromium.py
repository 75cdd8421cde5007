"""Chromium without a window, driven over its debugging pipe: tabs, keys, mouse, net and media, with all that pages log.

One process serves many profiles (cookies and caches of their own), a profile many tabs. All commands are those of the
Chrome DevTools Protocol; whatever waits polls through it, because a page's own Content Security Policy forbids `eval`.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from experiment.rehearsal.keys import SHIFT, Key, key
from study.errors import StudyError

PATIENCE = 60  # seconds without any word from the browser
POLL = 0.02  # seconds between two looks at a condition
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
    # a tab that another one covers runs as fast as the one in front
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding"),
    "--disable-backgrounding-occluded-windows",
)
# what the protocol says of a script whose page has gone meanwhile
GONE = ("context was destroyed", "Cannot find default execution context", "Inspected target navigated or closed")


class Gone(StudyError):
    """The page of a script was left before the script had a value."""


def executable() -> str | None:
    """Path of an installed Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Response:
    """What came back for one address: the status of HTTP and the headers, with names in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]


class Chromium:
    """A running browser: its process, its pipe, and the tabs to which messages belong.

    Errors: StudyError where no Chromium is installed, where it has ended, and where it is silent for PATIENCE seconds.
    """

    def __init__(self) -> None:
        path = executable()
        if path is None:
            raise StudyError(
                "No Chromium is installed. Install one (Debian: apt-get install chromium) so that one of "
                f"{', '.join(NAMES)} is on the PATH."
            )
        self._home = tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True)
        (into, self._write), (self._read, out) = os.pipe(), os.pipe()
        # the browser reads commands from descriptor 3 and answers on descriptor 4
        command = f'exec "$0" "$@" 3<&{into} 4>&{out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, path, *FLAGS, f"--user-data-dir={self._home.name}", "--remote-debugging-pipe"],
            pass_fds=(into, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(into)
        os.close(out)
        self._buffer, self._number = b"", 0
        self._tabs: dict[str, Tab] = {}
        self._replies: dict[int, dict[str, Any]] = {}
        self._silent: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and delete its files."""
        try:
            self.send("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._home.cleanup()

    def post(self, method: str, parameters: Mapping[str, Any], session: str | None = None) -> int:
        """Send one command without awaiting its reply; returns its number."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        return self._number

    def forget(self, number: int) -> None:
        """Drop the reply of a command when it comes."""
        self._silent.add(number)

    def send(
        self, method: str, parameters: Mapping[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        """Result of one command of the protocol, of the browser or of the tab with that session."""
        number = self.post(method, parameters or {}, session)
        while number not in self._replies:
            if not self.listen(PATIENCE):
                raise StudyError(f"Chromium was silent for {PATIENCE} s after {method}.")
        reply = self._replies.pop(number)
        if "error" in reply:
            text = reply["error"].get("message", "")
            kind = Gone if any(words in text for words in GONE) else StudyError
            raise kind(f"Chromium refuses {method}: {text}")
        return reply["result"]

    def listen(self, seconds: float) -> bool:
        """Take one message, or none that comes within `seconds`; whether one came."""
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], seconds)[0]:
                return False
            part = os.read(self._read, 1 << 20)
            if not part:
                raise StudyError("Chromium has ended.")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if (number := message.get("id")) is not None:
            if number in self._silent:
                self._silent.remove(number)
            else:
                self._replies[number] = message
        elif (tab := self._tabs.get(message.get("sessionId", ""))) is not None:
            tab.note(message["method"], message.get("params", {}))
        return True

    def attach(self, tab: Tab, context: str | None) -> tuple[str, str]:
        """Open a tab, in a profile or in the first one; returns the ids of its target and its session."""
        where = {} if context is None else {"browserContextId": context}
        target = self.send("Target.createTarget", {"url": "about:blank", **where})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._tabs[session] = tab
        return target, session

    def detach(self, target: str, session: str) -> None:
        """Close a tab."""
        self.send("Target.closeTarget", {"targetId": target})
        del self._tabs[session]

    def profile(self) -> Profile:
        """A profile of its own: nothing in it from other ones."""
        return Profile(self)


class Profile:
    """Cookies, caches and tabs of one participant; gone when closed."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self._context = chromium.send("Target.createBrowserContext")["browserContextId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chromium.send("Target.disposeBrowserContext", {"browserContextId": self._context})

    def tab(self) -> Tab:
        """A new tab of this profile."""
        return Tab(self._chromium, self._context)

    def cookies(self) -> list[dict[str, Any]]:
        """All cookies, with name, value, domain, path, httpOnly, secure and sameSite."""
        return self._chromium.send("Storage.getCookies", {"browserContextId": self._context})["cookies"]

    def set_cookie(self, name: str, value: str, url: str) -> None:
        """Put a cookie for the host of `url`."""
        self._chromium.send(
            "Storage.setCookies",
            {"browserContextId": self._context, "cookies": [{"name": name, "value": value, "url": url}]},
        )


class Tab:
    """One tab.

    `problems` are errors and warnings of the console and exceptions, `requests` every address that was asked for,
    `responses` what came back, `failures` what did not come, each in the order of time.
    """

    def __init__(self, chromium: Chromium, context: str | None = None, *, javascript: bool = True) -> None:
        self._chromium = chromium
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.responses: list[Response] = []
        self.failures: list[str] = []
        self._asked: dict[str, str] = {}  # address of each request, by its id
        self._loads = 0
        self._target, self._session = chromium.attach(self, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        if not javascript:
            self.send("Emulation.setScriptExecutionDisabled", value=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of one command of the protocol in this tab."""
        return self._chromium.send(method, parameters, self._session)

    def close(self) -> None:
        """Close this tab."""
        self._chromium.detach(self._target, self._session)

    def note(self, method: str, found: Mapping[str, Any]) -> None:
        """Keep what an event of this tab tells."""
        match method:
            case "Page.loadEventFired":
                self._loads += 1
            case "Page.javascriptDialogOpening":  # "leave this page?": yes
                answer = self._chromium.post("Page.handleJavaScriptDialog", {"accept": True}, self._session)
                self._chromium.forget(answer)
            case "Network.requestWillBeSent":
                self.requests.append(found["request"]["url"])
                self._asked[found["requestId"]] = found["request"]["url"]
            case "Network.responseReceived":
                heads = {name.lower(): text for name, text in found["response"]["headers"].items()}
                self.responses.append(Response(found["response"]["url"], found["response"]["status"], heads))
            case "Network.loadingFailed" if not found.get("canceled"):
                self.failures.append(f"{self._asked.get(found['requestId'])}: {found['errorText']}")
            case "Runtime.exceptionThrown":
                self.problems.append(str(found["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if found["type"] in ("error", "warning", "assert"):
                self.problems.append(str(found["args"]))
            case "Log.entryAdded" if found["entry"]["level"] in ("error", "warning"):
                self.problems.append(" ".join([found["entry"]["text"], *filter(None, [found["entry"].get("url")])]))
            case "Inspector.targetCrashed":
                self.problems.append("the page has crashed")
            case _:
                pass

    # pages

    def open(self, page: str | Path, hash_: str = "", *, width: int = 1280, height: int = 900) -> float:
        """Load an address or a local file into a window of width x height pixels; the seconds until its load event."""
        self.window(width, height)
        if isinstance(page, Path):
            self._go("about:blank")  # another place of the same file would be no new load
            page = page.resolve().as_uri()
        start = time.perf_counter()
        self._go(page + hash_)
        return time.perf_counter() - start

    def _go(self, address: str) -> None:
        before = self._loads
        answer = self.send("Page.navigate", url=address)
        if "errorText" in answer:
            raise StudyError(f"Chromium cannot open {address}: {answer['errorText']}")
        if "loaderId" in answer:  # none where only the place within the page is another one
            self._loaded(before)

    def _loaded(self, before: int) -> None:
        """Wait for one load more than `before`."""
        while self._loads == before:
            if not self._chromium.listen(PATIENCE):
                raise StudyError(f"Chromium has loaded nothing for {PATIENCE} s.")

    def reload(self, *, cache: bool = True) -> None:
        """Load the page again; `cache=False` asks for everything anew."""
        before = self._loads
        self.send("Page.reload", ignoreCache=not cache)
        self._loaded(before)

    def history(self, step: int) -> None:
        """Go back (-1) or forward (1), like the buttons of the window; wait for the page with `wait`."""
        found = self.send("Page.getNavigationHistory")
        place = found["currentIndex"] + step
        if not 0 <= place < len(found["entries"]):
            raise StudyError(f"This tab has no page {step:+d} from here: {len(found['entries'])} in all.")
        self.send("Page.navigateToHistoryEntry", entryId=found["entries"][place]["id"])

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise StudyError(f"A script in the page failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 10.0) -> Any:
        """First value of an expression that is true, looked at again and again; pages may change meanwhile.

        Errors: StudyError with the text of the page after `seconds`.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                value = self.run(condition)
                if value or isinstance(value, dict | list):  # empty ones are true in JavaScript; so an element is
                    return value
            except Gone:
                pass  # between two pages: look at the next one
            if time.monotonic() > end:
                shown = self.run("document.documentElement ? document.documentElement.innerText.slice(0, 500) : ''")
                raise StudyError(f"Not true within {seconds:g} s: {condition}. The page shows: {shown!r}")
            self.rest(POLL)

    def rest(self, seconds: float) -> None:
        """Let time pass while events are noted."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._chromium.listen(left)

    def settle(self) -> None:
        """Wait until events of the last action have been handled."""
        self.run("new Promise(done => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 20)), 20))")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """PNG of what is visible, or of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    # hands

    def press(self, code: str, *, shift: bool = False, repeat: bool = False) -> None:
        """Press and release the key of that `KeyboardEvent.code`; `repeat` presses once more while it is held."""
        pressed = key(code)
        down = {"type": "keyDown" if pressed.text else "rawKeyDown", **_event(pressed, shift)}
        self.send("Input.dispatchKeyEvent", **down)
        if repeat:
            self.send("Input.dispatchKeyEvent", **down, autoRepeat=True)
        self.send("Input.dispatchKeyEvent", type="keyUp", **_event(pressed, shift))

    def type(self, text: str) -> None:
        """Put a text where the focus is."""
        self.send("Input.insertText", text=text)

    def click(self, css: str, *, count: int = 1) -> None:
        """Click the middle of the first element of a selector with the mouse, `count` times like a double click."""
        place = self.run(
            f"(e => {{ if (!e) return null; e.scrollIntoView({{block: 'nearest', behavior: 'instant'}});"
            "const box = e.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })"
            f"(document.querySelector({json.dumps(css)}))"
        )
        if place is None:
            raise StudyError(f"The page has nothing that {css} selects.")
        x, y = place
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=number)

    # circumstances

    def window(self, width: int, height: int) -> None:
        """Size of the page in pixels; below 600 wide like a telephone."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def net(self, *, offline: bool = False, latency: float = 0.0, bits: float = 0.0) -> None:
        """Emulate a net: cut off, or slower by `latency` ms an answer and `bits` a second each way; without arguments
        the real one again."""
        rate = bits / 8 if bits else -1
        self.send(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=latency,
            downloadThroughput=rate,
            uploadThroughput=rate,
        )

    def media(self, **features: str) -> None:
        """Emulate preferences, like `prefers_color_scheme="dark"`, `forced_colors="active"` or
        `prefers_reduced_motion="reduce"`; those not named are the usual ones again."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=named)


class Browser(Tab):
    """A tab in a browser of its own, which ends with it."""

    def __init__(self, *, javascript: bool = True) -> None:
        super().__init__(Chromium(), javascript=javascript)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chromium.close()


def _event(pressed: Key, shift: bool) -> dict[str, Any]:
    """A key as the protocol names it."""
    return {
        "code": pressed.code,
        "key": pressed.key,
        "text": pressed.text,
        "windowsVirtualKeyCode": pressed.number,
        "modifiers": SHIFT if shift else 0,
    }
