"""Picture of the service's page in a browser, during an update of `make demo`'s service with the drain."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from tests.browser.watched import Watched, chromium
from tests.ports import reserve_port
from tools.demo.__main__ import Deployment

WIDTH, HEIGHT = 760, 1320
"""Size of the tab in pixels. The picture ends below the event stream."""

QUALITY = 82
"""Quality of the picture, of 100."""

BEFORE, AFTER = 15.0, 8.0
"""Times that the page shows before the update and after it, in seconds."""


def take(path: Path) -> None:
    """Update the service, and write its page as WebP to `path`; takes a minute, and needs Chromium.

    The pod's name in it is the name of this machine. Raises ValueError if a request failed.
    """
    port = reserve_port()
    with chromium() as browser, Deployment("on", port) as deployment:
        tab = Watched(browser, f"http://127.0.0.1:{port}", viewport={"width": WIDTH, "height": HEIGHT})
        page = tab.open().page
        tab.wait_for_streams()
        time.sleep(BEFORE)
        deployment.update()
        tab.wait_for_version("v2")
        time.sleep(AFTER)
        if tab.number("failed"):
            raise ValueError(f"requests failed during the update: {tab.summary()}")
        stream = page.locator("#event-stream").bounding_box()
        if stream is None:
            raise ValueError("the page shows no event stream")
        end = stream["y"] + stream["height"] + 16
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": end, "scale": 1}
        session = page.context.new_cdp_session(page)
        options = {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
        shot = session.send("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(shot["data"]))
        tab.close()
