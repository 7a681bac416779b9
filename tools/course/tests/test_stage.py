"""tools.course.stage without a cluster: the URL at which the load finds the service."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.ports import reservation
from tools.course.stage import first_to_respond


class Version(http.server.BaseHTTPRequestHandler):
    """The service's response."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "v1"}')


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """Yield a reserved address at which no process listens."""
    with reservation() as reserved:
        yield reserved.getsockname()


def url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"


def test_load_waits_for_a_pod_that_is_ready_and_does_not_listen_yet(nobody: tuple[str, int]) -> None:
    """As pods of v1; a load from inside the cluster instead would be another experiment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        late = probe.getsockname()
    servers: list[http.server.HTTPServer] = []

    def listen() -> None:
        servers.append(http.server.ThreadingHTTPServer(late, Version))
        servers[0].serve_forever()

    timer = threading.Timer(0.5, listen)
    timer.start()
    try:
        assert first_to_respond([url(nobody), url(late)], None, 20) == url(late)
    finally:
        servers[0].shutdown()
        servers[0].server_close()
        timer.join()


def test_nodes_without_a_response_are_given_up(nobody: tuple[str, int]) -> None:
    assert first_to_respond([url(nobody)], None, 0.3) is None
    assert first_to_respond([], None) is None
