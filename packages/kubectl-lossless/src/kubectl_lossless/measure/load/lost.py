"""Losses: requests without a good response, and their kinds."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Kind of a loss."""

    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed before a response"
    SERVER_ERROR = "5xx"
    TIMEOUT = "timeout"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> Kind | None:
        """Read reports of before 0.2.0."""
        return cls.CLOSED if value == "closed before an answer" else None


class Lost(Exception):  # noqa: N818 - everything here calls it a lost request
    """A request without a good response, and how it was lost.

    `phase`: "connecting", "handshake" (of TLS), or "waiting" for the response, once the connection stood.
    `status` and `via`, the Server header, are the response's where there was one.
    """

    def __init__(
        self, kind: Kind, detail: str, *, phase: str = "waiting", status: int = 0, via: str = ""
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.phase = phase
        self.status = status
        self.via = via
