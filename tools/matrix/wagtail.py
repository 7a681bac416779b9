"""Smoke test of a Wagtail site: an editor logs in, publishes a page, finds it, deletes it and logs out."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from html.parser import HTMLParser
from types import TracebackType
from typing import Self

import requests
from requests.adapters import HTTPAdapter

from tests.process.clients import RESPONSE_TIMEOUT

USER, PASSWORD = "editor", "of the smoke test"
HOME = 3
"""Number of the home page of a new site."""


class _Fields(HTMLParser):
    """Input fields of a page, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        field = dict(attrs)
        name, kind = field.get("name"), field.get("type")
        if tag == "input" and name and kind not in ("checkbox", "radio", "submit", "file"):
            self.values.setdefault(name, field.get("value") or "")


class Editor:
    """One session of a browser, which neither repeats a request nor reopens a connection silently."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", HTTPAdapter(max_retries=0))
        self.requests = 0

    def get(self, path: str, status: int = 200) -> str:
        """Return the text of a page."""
        return self._request("GET", path, status)

    def submit(self, path: str, form: str = "", **fields: str) -> str:
        """Fill in the form of the page `form`, `path` if not given; return the page to which it leads."""
        parser = _Fields()
        parser.feed(self.get(form or path))
        return self._request("POST", path, 200, {**parser.values, **fields})

    def _request(self, method: str, path: str, status: int, data: dict[str, str] | None = None) -> str:
        url = f"http://127.0.0.1:{self._port()}{path}"
        response = self._session.request(
            method, url, data=data, timeout=RESPONSE_TIMEOUT, allow_redirects=False
        )
        self.requests += 1
        if response.is_redirect and status == 200:
            return self.get(response.headers["Location"])
        assert response.status_code == status, f"{method} {path}: status {response.status_code}"
        return response.text


def publish_and_delete(editor: Editor) -> None:
    """Publish, find and delete a page; AssertionError if a page of the site is wrong."""
    title = f"Page {uuid.uuid4().hex}"
    path = f"/{title.lower().replace(' ', '-')}/"
    editor.get(path, status=404)
    assert "Dashboard" in editor.submit("/admin/login/", username=USER, password=PASSWORD)
    new = {"title": title, "slug": path.strip("/"), "action-publish": "action-publish"}
    assert "created and published" in editor.submit(f"/admin/pages/add/home/homepage/{HOME}/", **new)
    assert title in editor.get(path)
    assert title in editor.get(f"/search/?query={title.split()[1]}")
    number = re.search(rf'id="page_([0-9]+)_title">\s*{title}', editor.get(f"/admin/pages/{HOME}/"))
    assert number, f"{title} is not among the pages"
    assert "deleted" in editor.submit(f"/admin/pages/{number[1]}/delete/")
    editor.get(path, status=404)
    editor.submit("/admin/logout/", form="/admin/account/")  # any page that has a form
    editor.get("/admin/", status=302)


class Editing:
    """The smoke test, repeated in a thread from start to stop."""

    def __init__(self, port: Callable[[], int]) -> None:
        self.passes = 0
        self.requests = 0
        self._port = port
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="smoke test")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def has_passed(self, times: int) -> bool:
        """Return whether the test has passed `times` times; raise the error of a failed test."""
        if self._error is not None:
            raise self._error
        return self.passes >= times

    def _run(self) -> None:
        while not self._over.is_set():
            editor = Editor(self._port)
            try:
                publish_and_delete(editor)
            except (AssertionError, requests.RequestException) as error:
                self._error = error
                return
            self.passes += 1
            self.requests += editor.requests
