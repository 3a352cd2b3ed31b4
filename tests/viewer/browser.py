"""A page in Chromium, drawing in software, with everything it asked for and complained about."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, Playwright

ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--use-angle=swiftshader",
]
READY = "body[data-state=ready], body[data-state=failed]"


@contextmanager
def launched(playwright: Playwright, program: str, *arguments: str) -> Iterator[Browser]:
    """Yield a headless browser."""
    browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS, *arguments], chromium_sandbox=False)
    yield browser
    browser.close()


class Visit:
    """One page, opened and ready. requests: all addresses it asked for. complaints: errors and warnings of its console.

    script: runs before those of the page.
    """

    def __init__(self, browser: Browser, address: str, script: str = "", **options: Any) -> None:
        self.page: Page = browser.new_page(**({"viewport": {"width": 641, "height": 480}} | options))
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        if script:
            self.page.add_init_script(script)
        self.page.goto(address)
        self.page.wait_for_selector(READY)

    def _hear(self, kind: str, text: str) -> None:
        if "GPU stall due to ReadPixels" not in text:  # what reading pixels costs
            self.complaints.append(f"{kind}: {text}")

    @property
    def foreign(self) -> list[str]:
        """Return the requests for anything but the page, its own server, and what is in memory."""
        own = self.page.url.rpartition("/")[0]
        return [url for url in self.requests if not url.startswith((own, "data:", "blob:"))]

    def state(self, expression: str) -> Any:
        """Return the value of an expression in which `player` is the page's."""
        return self.page.evaluate(f"gvf.then((player) => {expression})")

    def wait(self, expression: str, seconds: float = 20.0) -> None:
        """Wait until an expression of `player` is true. (Playwright's own waiting evaluates text, which the page forbids.)"""
        end = time.monotonic() + seconds
        while not self.state(expression):
            assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
            time.sleep(0.03)

    def pixels(self, **wishes: Any) -> np.ndarray:
        """Return what `player.render` gives, uint8 [height, width, 4]."""
        width, height, data = self.page.evaluate(
            """async (wishes) => {
              const { width, height, data } = await (await gvf).render(wishes);
              let text = "";
              for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
              return [width, height, btoa(text)];
            }""",
            wishes,
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
