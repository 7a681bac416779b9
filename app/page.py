"""Page at / that shows responses, streams and pods in a browser during a rolling update."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from flask import Blueprint, Response, request

HERE = Path(__file__).parent


def blueprint() -> Blueprint:
    """Create the route of the page.

    The page is one response that includes its style and script: separate files could come from pods of
    different versions in the middle of an update.
    """
    page = Blueprint("page", __name__)
    style, script = (_source(name) for name in ("page.css", "page.js"))
    body = _source("page.html").replace("/* page.css */", style).replace("/* page.js */", script)
    etag = hashlib.sha256(body.encode()).hexdigest()
    headers = {
        # Only the style and the script above, and nothing of other origins. 'self' includes ws: too.
        "Content-Security-Policy": (
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-cache",  # cached, and revalidated each time: an update changes the page
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    @page.get("/")
    def index() -> Response:
        response = Response(body, mimetype="text/html", headers=headers)
        response.set_etag(etag)
        response.make_conditional(request)
        return response

    return page


def _source(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    """Return the name of a source in Content-Security-Policy: its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
