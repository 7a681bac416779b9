"""Tests of app/page.py and of the page's source; tests/browser opens the page in a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from flask.testing import FlaskClient


class Elements(HTMLParser):
    """Parser of a document: the elements with their attributes, and the text of style and script."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.sources: dict[str, list[str]] = {"style": [], "script": []}
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.lasttag in self.sources and data.strip() and self.cdata_elem is not None:
            self.sources[self.lasttag].append(data)


def policy(client: FlaskClient) -> dict[str, list[str]]:
    header = client.get("/").headers["Content-Security-Policy"]
    return {name: sources for name, *sources in (part.split() for part in header.split(";"))}


def test_page_is_one_response(client: FlaskClient) -> None:
    response = client.get("/")
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    fetched = [
        (tag, name, value)
        for tag, name, value in Elements(response.text).attributes
        if name in ("src", "href", "srcset", "action", "data") and not value.startswith("data:")
    ]
    assert not fetched
    assert not re.search(r"@import|url\(", response.text)


def test_policy_allows_the_page_only(client: FlaskClient) -> None:
    elements = Elements(client.get("/").text)
    allowed = policy(client)
    for kind, sources in elements.sources.items():
        hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
        assert len(hashes) == 1
        assert allowed[f"{kind}-src"] == [f"'sha256-{hashes[0]}'"]
    assert allowed["default-src"] == allowed["base-uri"] == allowed["frame-ancestors"] == ["'none'"]
    assert allowed["connect-src"] == ["'self'"]
    # The policy forbids these, which the source alone does not show.
    assert not [name for _, name, _ in elements.attributes if name == "style" or name.startswith("on")]


def test_head_responds_without_a_body(client: FlaskClient) -> None:
    same = {"X-Request-ID": "mine"}
    head, get = client.head("/", headers=same), client.get("/", headers=same)
    assert (head.status_code, head.data) == (200, b"")
    assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}


def test_cached_page_is_revalidated(client: FlaskClient) -> None:
    first = client.get("/")
    assert first.headers["Cache-Control"] == "no-cache"
    etag = first.headers["ETag"]
    again = client.get("/", headers={"If-None-Match": etag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert client.get("/", headers={"If-None-Match": '"another"'}).status_code == 200


def test_other_methods_are_refused(client: FlaskClient) -> None:
    assert client.post("/").status_code == 405
