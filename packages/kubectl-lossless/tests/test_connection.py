"""Each kind of loss of a request, on real sockets; nothing is sent twice."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from servers import Serve

from kubectl_lossless.measure.load.connection import Connection, Target
from kubectl_lossless.measure.load.lost import Kind, Lost
from tests.waiting import wait_until

Connect = Callable[[str], Connection]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Create connections that end with the test."""
    with ExitStack() as stack:

        def connect(url: str) -> Connection:
            connection = Connection(Target.of(url, strict=True), timeout=0.5)
            stack.callback(connection.close)
            return connection

        yield connect


@pytest.mark.parametrize(
    ("behaviour", "kind", "detail"),
    [
        ("reset", Kind.RESET, "waiting for the response"),
        ("close", Kind.CLOSED, "instead of responding"),
        ("cut", Kind.CLOSED, "ended after 1 bytes"),
        ("unavailable", Kind.SERVER_ERROR, "status 503"),
        ("missing", Kind.OTHER, "status 404"),
        ("foreign", Kind.OTHER, "without a version: hi"),
        ("garbage", Kind.OTHER, "no HTTP response"),
        ("stall", Kind.TIMEOUT, "timed out"),
        ("refuse", Kind.REFUSED, "while connecting"),
    ],
)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
def test_lost_request_has_the_kind_of_its_loss(
    serve: Serve, connect: Connect, *, behaviour: str, kind: Kind, detail: str, kept: bool
) -> None:
    server = serve(behaviour)
    connection = connect(server.url)
    seen: list[Lost] = []

    def lost() -> bool:
        if not kept or behaviour == "refuse":  # a kept connection never asks the listener
            connection.close()
        try:
            connection.get("/api")
        except Lost as error:
            seen.append(error)
        return bool(seen)

    assert not lost()
    server.misbehave()
    wait_until(lost, f"{kind}")
    assert seen[0].kind is kind
    assert detail in seen[0].detail


def test_connection_to_a_closed_port_is_refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, never listening: nobody else can take the port either
        connection = Connection(Target.of(f"http://127.0.0.1:{sock.getsockname()[1]}"), timeout=0.5)
        with pytest.raises(Lost) as caught:
            connection.get("/api")
    assert caught.value.kind is Kind.REFUSED


def test_peer_that_never_accepts_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = []
        try:
            for _ in range(3):  # fill the accept queue, so that the handshake gets no response
                waiting.append(sock := socket.socket())
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            with pytest.raises(Lost) as caught:
                Connection(Target.of(f"http://127.0.0.1:{port}"), timeout=0.3).get("/api")
        finally:
            for sock in waiting:
                sock.close()
    assert caught.value.kind is Kind.TIMEOUT


def test_unknown_host_name_is_a_loss_of_the_kind_other() -> None:
    with pytest.raises(Lost) as caught:
        Connection(Target.of("http://nobody.invalid"), timeout=1).get("/api")
    assert caught.value.kind is Kind.OTHER
    assert "looking up" in caught.value.detail


def test_kept_connection_is_used_again(serve: Serve, connect: Connect) -> None:
    connection = connect(serve("well").url)
    connection.get("/api")
    assert connection.open
    assert not connection.closed_within(0)
    assert not connection.closed_within(0.05)
    connection.get("/api")


def test_announced_close_is_no_close_without_notice(serve: Serve, connect: Connect) -> None:
    server = serve("announce")
    connection = connect(server.url)
    server.misbehave()
    wait_until(lambda: (connection.get("/api"), not connection.open)[1], "the announced close")
    assert not connection.closed_within(0.2)


def test_unannounced_close_is_seen_while_idle(serve: Serve, connect: Connect) -> None:
    server = serve("unannounced")
    connection = connect(server.url)
    server.misbehave()
    wait_until(lambda: (connection.get("/api"), connection.closed_within(1))[1], "the close")
    assert not connection.open
    connection.get("/api")  # the next request opens a new one


@pytest.mark.parametrize("url", ["ftp://x", "x:80", "http://", "http://u:p@x", "http://x:y", "http://x/a b"])
def test_malformed_url_is_no_target(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no URL|percent-encoded"):
        Target.of(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://x/", Target("x", 443, "x", tls=True)),
        ("https://x:8443/a?b=c", Target("x", 8443, "x:8443", "/a?b=c", tls=True)),
        ("http://[::1]:80/a", Target("::1", 80, "[::1]:80", "/a")),
    ],
)
def test_url_is_read(url: str, target: Target) -> None:
    assert Target.of(url) == target


def test_host_header_can_be_another() -> None:
    assert Target.of("http://10.0.0.1:8080") == Target("10.0.0.1", 8080, "10.0.0.1:8080")
    assert Target.of("http://10.0.0.1", "flask.example") == Target("10.0.0.1", 80, "flask.example")
