"""The one rule that recognizes probes, for parsed requests and received bytes alike.

A probe is a GET or HEAD of a probe's path, as the application routes it: without the path prefix that
Gunicorn calls SCRIPT_NAME, percent-decoded, in whatever form the request target has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from gunicorn.config import Config

METHODS = ("GET", "HEAD")
"""Methods of kubelets, load balancers and Prometheus. A probe's path supports no others."""

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""Name of a header (RFC 9110, 5.6.2)."""


@dataclass(frozen=True)
class Probe:
    """A request of the platform, not of a client: a kubelet's probe, a metrics scrape."""

    path: str
    """The path as the application routes it: without a prefix."""
    header: str | None = None
    """Header that only the platform's request carries, for a path that clients request too."""

    def __post_init__(self) -> None:
        if self.header is not None and not (isinstance(self.header, str) and TOKEN.fullmatch(self.header)):
            raise ValueError(f"header is {self.header!r}; allowed is the name of a header, or None")


class ProbeMatcher:
    """Matcher of probes. Almost every request is none, and costs one comparison of its path's end."""

    def __init__(self, probes: Collection[Probe] = ()) -> None:
        self._headers: dict[bytes, list[str | None]] = {}
        for probe in probes:
            allowed = self._headers.setdefault(route(probe.path.encode()), [])
            allowed.append(probe.header and probe.header.upper())
        # A prefix and the form of the target leave the end of a path as it is; only "%" may hide it.
        ends = [b"/", *(route.removeprefix(b"/") for route in self._headers)]
        self._ends = tuple(end.decode() for end in ends)
        # Gunicorn allows one empty line before a request, and with a setting methods in lower case.
        ending = b"|".join(b"(?<=%b)" % re.escape(end) for end in ends)
        self._may_be_probe = re.compile(rb"(?:\r\n)?[A-Za-z]+ [^ ?#\r\n%%]*+(?:%%|%b)" % ending)

    def matches(self, request: Any) -> bool:
        """Return whether `request`, parsed by Gunicorn, is a probe."""
        path: str = request.path
        if not (path.endswith(self._ends) or "%" in path):
            return False
        return self._route_of(request) is not None

    def _route_of(self, request: Any) -> bytes | None:
        if request.method.upper() not in METHODS:  # Flask routes without regard to case
            return None
        path: str = request.path
        # As in gunicorn.http.wsgi.create(): a trusted proxy may name the prefix in a header.
        prefix = os.environ.get("SCRIPT_NAME", "")
        for name, value in request.headers:
            if name == "SCRIPT_NAME":
                prefix = value
        if not path.startswith(prefix):
            return None  # Gunicorn refuses it, and the application never sees it
        path_route = route(unquote_to_bytes(path[len(prefix) :]))
        if path_route not in self._headers:
            return None
        return path_route if self._matches(path_route, {name for name, _ in request.headers}) else None

    def matches_scope(self, scope: Mapping[str, Any]) -> bool:
        """Return whether the request of an ASGI HTTP scope is a probe."""
        path = route(
            scope["path"].removeprefix(scope.get("root_path", "")).encode("utf-8", "surrogateescape")
        )
        if path not in self._headers or scope["method"] not in METHODS:
            return False
        return self._matches(path, {name.decode("latin-1").upper() for name, _ in scope["headers"]})

    def _matches(self, path: bytes, names: set[str]) -> bool:
        return any(header is None or header in names for header in self._headers[path])

    def matches_head(self, head: bytes, cfg: Config, peer: Any) -> bool:
        """Return whether the request that begins with `head`, received from `peer`, is a probe."""
        return self.route_of_head(head, cfg, peer) is not None

    def route_of_head(self, head: bytes, cfg: Config, peer: Any) -> bytes | None:
        """Return the route of the probe that begins with `head`, received from `peer`; None for no probe.

        Gunicorn's own parser reads every possible probe, so that both forms agree on unusual requests.
        """
        if self._may_be_probe.match(head) is None:
            return None
        # Not at the top: Gunicorn's master imports this module before gevent patches a worker.
        from gunicorn.http.errors import ParseException
        from gunicorn.http.message import Request
        from gunicorn.http.unreader import IterUnreader

        try:
            request = Request(cfg, IterUnreader([head]), peer)
        except (ParseException, OSError, StopIteration):
            return None  # refused, or incomplete
        return self._route_of(request)


def route(path: bytes) -> bytes:
    """Return the route of a path: Flask accepts one more slash at the end, any number at the beginning."""
    return b"/" + path.lstrip(b"/").removesuffix(b"/")


def wrong_path(name: str, path: object) -> str | None:
    """Return a sentence about the setting `name` if `path` cannot be a probe's path, else None."""
    if isinstance(path, str) and re.fullmatch(r"/[^?#%\s]*", path):
        return None
    return f"{name} has {path!r}; allowed are paths, which begin with / and have no query, space or %"
