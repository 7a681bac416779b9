"""Announcement of the close on HTTP/2 connections of Gunicorn itself, by a GOAWAY.

HTTP/2 has no `Connection` header. A GOAWAY names the last request that is processed: a client sends further
ones on another connection, and repeats those that it has sent meanwhile. Gunicorn sends one when its worker
stops, which is too late: until then a busy connection keeps the drain from ending.
"""

from __future__ import annotations

from typing import Any


def last_stream(request: Any) -> Any | None:
    """Return the stream of `request`, if its response is complete and its connection has no other stream.

    None for a request of HTTP/1. A GOAWAY while others are open would be correct, but some clients then give
    up the responses that they still wait for, and Gunicorn sends none after it.
    """
    stream = getattr(request, "stream", None)
    if stream is None or not stream.response_complete:
        return None
    return stream if set(stream.connection.streams) <= {stream.stream_id} else None


def announce_close(request: Any) -> None:
    """Close the connection of a request to a WSGI worker with a GOAWAY, if it is idle now."""
    if (stream := last_stream(request)) is not None:
        stream.connection.close(last_stream_id=stream.stream_id)
