"""The floor of a comparison: `python -m tools.benchmarks.floor PORT MODULE:APP`.

One thread, one recv and one send for each request, and between them the application with a copy of a
constant environ. Nothing is parsed or checked, so that a server can hardly cost less.
"""

from __future__ import annotations

import importlib
import selectors
import socket
import sys
from typing import Any
from wsgiref.util import setup_testing_defaults

RECEIVE_BYTES = 65536


def serve(port: int, reference: str) -> None:
    """Respond to GET /api on every connection until the process is terminated."""
    module, _, name = reference.partition(":")
    application = getattr(importlib.import_module(module), name)
    template: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api",
        "QUERY_STRING": "",
        "HTTP_HOST": f"127.0.0.1:{port}",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.errors": sys.stderr,
    }
    setup_testing_defaults(template)
    head: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:  # noqa: ARG001 - WSGI's
        head[:] = [f"HTTP/1.1 {status}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]

    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    with selectors.DefaultSelector() as poller:
        poller.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in poller.select():
                if key.fileobj is listener:
                    poller.register(listener.accept()[0], selectors.EVENT_READ)
                    continue
                client: Any = key.fileobj
                try:
                    if client.recv(RECEIVE_BYTES):
                        body = application(dict(template), start_response)
                        client.send("".join(head).encode("latin-1") + b"".join(body))
                        if hasattr(body, "close"):
                            body.close()
                        continue
                except OSError:  # the load ends without waiting for its last responses
                    pass
                poller.unregister(client)
                client.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
