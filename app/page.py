"""The page for people at /: answers, streams and pods as a browser sees them during a rolling update."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from flask import Blueprint, Response, request

HERE = Path(__file__).parent


def blueprint() -> Blueprint:
    """Make the route of the page.

    It is one response, with its style and script in it: files of their own could come from pods of
    different versions in the middle of an update.
    """
    page = Blueprint("page", __name__)
    style, script = (_source(name) for name in ("page.css", "page.js"))
    body = _source("page.html").replace("/* page.css */", style).replace("/* page.js */", script)
    etag = hashlib.sha256(body.encode()).hexdigest()
    headers = {
        # Nothing but the style and the script above, and nothing from elsewhere. 'self' holds for ws: too.
        "Content-Security-Policy": (
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-cache",  # kept, and asked for anew: after an update it is another one
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
    """Name a source as Content-Security-Policy does."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
