"""A headless Chromium, driven over a pipe by the Chrome DevTools Protocol."""

import base64
import contextlib
import itertools
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_LIMIT_S = 60.0
#: A browser that asks nobody but the page's host, and needs no display.
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--mute-audio", "--hide-scrollbars"),
)


def chromium() -> str:
    """Return the path of Chromium; skip the test if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here; install it, for example with apt-get install chromium")
    return found


class Browser:
    """
    One page of a browser; the ``with`` block ends it.

    Args:
        folder: for its profile.
        password: given when a page asks for one.

    Attributes:
        errors: what the page logged as errors, its exceptions and files that failed to load.
        urls: what the page asked for.
    """

    def __init__(self, folder: Path, password: str = "") -> None:
        self._password = password
        self.errors: list[str] = []
        self.urls: list[str] = []
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._session = ""
        read_commands, self._commands = os.pipe()
        self._events, write_events = os.pipe()
        # The protocol's pipe has these two numbers.
        shell = f'exec "$@" 3<&{read_commands} 4>&{write_events}'
        command = [chromium(), *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(read_commands, write_events),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_events)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        if self._password:
            self.call("Fetch.enable", handleAuthRequests=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        with contextlib.suppress(OSError, AssertionError):
            self._send("Browser.close", {})
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)

    def open(self, url: str) -> int:
        """Load *url* and return the status of its response."""
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
        status: int = self.value("performance.getEntriesByType('navigation')[0].responseStatus")
        return status

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of an element; empty if there is none."""
        quoted = json.dumps(selector)
        return self.value(f"document.querySelector({quoted})?.innerText ?? ''") or ""

    def wait_for(self, expression: str, limit_s: float = 10.0) -> float:
        """Return once *expression* is true, and after how many seconds."""
        begun_s = time.monotonic()
        while not self.value(f"Boolean({expression})"):
            waited_s = time.monotonic() - begun_s
            assert waited_s < limit_s, f"{expression} is not true; the page: {self.text('body')}"
            time.sleep(0.05)
        return time.monotonic() - begun_s

    def resize(self, width: int, height: int) -> None:
        """Give the page the size of another window."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, colour_scheme: str) -> None:
        """Prefer the colour scheme ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": colour_scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, file: Path) -> None:
        """Write what the page shows, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command of the protocol."""
        number = next(self._ids)
        answer = self._answers[number] = queue.SimpleQueue()
        self._send(method, parameters, number)
        try:
            found = answer.get(timeout=ANSWER_LIMIT_S)
        except queue.Empty:
            raise AssertionError(f"the browser does not answer {method}") from None
        assert "error" not in found, (method, found["error"])
        result: dict[str, Any] = found["result"]
        return result

    def _send(self, method: str, parameters: dict[str, Any], number: int = 0) -> None:
        message = {"id": number or next(self._ids), "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")

    def _read(self) -> None:
        with os.fdopen(self._events, "rb") as pipe:
            buffered = b""
            while chunk := pipe.read1(65536):
                *messages, buffered = (buffered + chunk).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        if answer := self._answers.pop(message["id"], None):
                            answer.put(message)
                    else:
                        self._handle(message["method"], message["params"])

    def _handle(self, event: str, values: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.urls.append(values["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.errors.append(str(values["args"]))
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif event == "Fetch.requestPaused":
            self._send("Fetch.continueRequest", {"requestId": values["requestId"]})
        elif event == "Fetch.authRequired":
            response = {
                "response": "ProvideCredentials",
                "username": "operator",
                "password": self._password,
            }
            self._send(
                "Fetch.continueWithAuth",
                {"requestId": values["requestId"], "authChallengeResponse": response},
            )
