"""A request: its URL, its content, and which response is a good one."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kubectl_lossless.measure.load.lost import Kind, Lost

Ranges = tuple[tuple[int, int], ...]
"""Statuses: pairs of the first and the last of a range."""

GOOD: Ranges = ((200, 399),)
"""The expected statuses where none are named: success, and redirects, which are not followed."""

VERSION_HEADERS = ("x-app-version", "x-version")
POD_HEADERS = ("x-pod", "x-pod-name")
VERSION_FIELDS = ("version",)
POD_FIELDS = ("pod", "hostname")
"""Default headers and fields in which a response names its version and its pod."""

LARGEST_JSON = 65536
"""Bytes of a body that are searched for the fields at most."""


@dataclass(frozen=True)
class Target:
    """One request. `host` is the Host header; it is the URL's own unless given.

    `ca` is the text of the certificates to trust in addition to the system's; `insecure` checks none.
    `strict`: a good response is a JSON object with a version.
    """

    address: str
    port: int
    host: str
    path: str = ""
    tls: bool = False
    ca: str = ""
    insecure: bool = False
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expect: Ranges = GOOD
    version_headers: tuple[str, ...] = VERSION_HEADERS
    version_fields: tuple[str, ...] = VERSION_FIELDS
    pod_headers: tuple[str, ...] = POD_HEADERS
    pod_fields: tuple[str, ...] = POD_FIELDS
    strict: bool = False

    @classmethod
    def of(cls, url: str, host: str | None = None, **options: Any) -> Target:
        """Read http(s)://name[:port][/path].

        Raises ValueError for anything else.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is no URL: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r} is no URL of the form http(s)://name[:port][/path]")
        tls = parts.scheme == "https"
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if any(ord(each) < 33 or ord(each) > 126 for each in path):
            raise ValueError(f"{url!r} holds characters that must be percent-encoded")
        if path == "/":
            path = ""
        port = port or (443 if tls else 80)
        return cls(parts.hostname, port, host or parts.netloc, path, tls, **options)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Target:
        """Return the target of a parsed JSON object."""
        listed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        listed["headers"] = tuple((str(name), str(value)) for name, value in fields["headers"])
        listed["expect"] = tuple((int(first), int(last)) for first, last in fields["expect"])
        return cls(**listed)

    @property
    def url(self) -> str:
        """The URL, as people know it."""
        scheme, usual = ("https", 443) if self.tls else ("http", 80)
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"{scheme}://{name}{'' if self.port == usual else f':{self.port}'}{self.path}"

    def context(self) -> ssl.SSLContext:
        """Return how the certificate is checked.

        Raises ValueError for an authority that cannot be read.
        """
        context = ssl.create_default_context()
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca:
            try:
                context.load_verify_locations(cadata=self.ca)
            except (ssl.SSLError, ValueError) as error:
                raise ValueError(f"no certificate can be read from it: {error}") from None
        return context

    @property
    def server_name(self) -> str:
        """Server name of TLS, from the Host header: sent as SNI and checked against the certificate."""
        name = self.host.rpartition(":")[0] if self.host.rpartition(":")[2].isdecimal() else self.host
        return name.strip("[]")

    def expected(self, status: int) -> bool:
        """Return whether a status is a good one."""
        return any(first <= status <= last for first, last in self.expect)

    def check(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Return a response's `version` and `pod`, each empty where the response says none.

        Raises Lost for a response that is not a good one.
        """
        start = body[:120].decode(errors="replace")
        via = headers.get("server", "")
        if not self.expected(status):
            kind = Kind.SERVER_ERROR if status >= 500 else Kind.OTHER
            by = f" ({via})" if via and not self.strict else ""
            raise Lost(kind, f"status {status}{by}: {start}", status=status, via=via)
        fields: object = None
        if (self.strict or "json" in headers.get("content-type", "")) and len(body) <= LARGEST_JSON:
            try:
                fields = json.loads(body)
            except ValueError:
                fields = None
        known = fields if isinstance(fields, dict) else {}
        if self.strict and "version" not in known:
            raise Lost(Kind.OTHER, f"status {status} without a version: {start}", status=status, via=via)
        return {
            "version": first_said(headers, self.version_headers, known, self.version_fields),
            "pod": first_said(headers, self.pod_headers, known, self.pod_fields),
        }


def first_said(
    headers: Mapping[str, str], names: Sequence[str], fields: Mapping[str, object], keys: Sequence[str]
) -> str:
    """Return the first of these headers or fields that is there, empty if none is."""
    for name in names:
        if value := headers.get(name.lower()):
            return value[:80]
    for key in keys:
        field = fields.get(key)
        if isinstance(field, str | int | float) and field != "":
            return str(field)[:80]
    return ""


def ranges(text: str) -> Ranges:
    """Read "200-299,404". Raises ValueError, which names the allowed values."""
    found = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        bounds = (first, last if dash else first)
        if not all(bound.isdecimal() and 100 <= int(bound) <= 599 for bound in bounds) or int(
            bounds[0]
        ) > int(bounds[1]):
            raise ValueError(
                f"{part.strip()!r} is no status; allowed are 100 to 599 and ranges, as in 200-299,404"
            )
        found.append((int(bounds[0]), int(bounds[1])))
    return tuple(found)
