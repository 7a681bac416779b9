"""Address of the client behind proxies, and the fields of a request in the access log."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from gunicorn_drain.logs import access


def configuration(trusted: str) -> Config:
    cfg = Config()
    cfg.set("forwarded_allow_ips", trusted)
    return cfg


def environ(peer: str, forwarded: str | None, **more: str) -> dict[str, Any]:
    known = {"REMOTE_ADDR": peer, "REMOTE_PORT": "1"}
    return {**known, **({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}), **more}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.1,203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.1, 203.0.113.7 , 10.9.9.9,10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("192.0.2.9", "203.0.113.7", "192.0.2.9"),  # not a trusted proxy
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "[2001:DB8:0::7]:4711", "2001:db8::7"),
        ("10.0.0.1", '"[2001:db8::7]"', "2001:db8::7"),
        ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "fe80::1%\x1b[31m", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, ", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, <script>, 10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),  # an IPv4 peer of a socket for both families
        ("::ffff:10.0.0.1", None, "10.0.0.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("2001:db8::1", "203.0.113.7", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.7" + ", 10.0.0.2" * 31, "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7" + ", 10.0.0.2" * 100_000, "10.0.0.2"),
    ],
)
def test_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str, forwarded: str | None, client: str
) -> None:
    cfg = configuration("10.0.0.0/8,fd00::/8")
    assert access.client(environ(peer, forwarded), cfg) == client


@pytest.mark.parametrize(("peer", "client"), [("192.0.2.9", "192.0.2.9"), ("", "203.0.113.7")])
def test_peer_without_a_port_is_trusted_only_without_an_address(peer: str, client: str) -> None:
    asgi = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": "203.0.113.7"}  # no worker for ASGI logs a port
    assert access.client(asgi, configuration("10.0.0.0/8")) == client


def test_client_is_found_with_the_configuration_of_gunicorn_before_25() -> None:
    older: Any = SimpleNamespace(forwarded_allow_ips=["10.0.0.0/8", "127.0.0.1"])
    assert access.client(environ("10.0.0.1", "203.0.113.7"), older) == "203.0.113.7"
    assert access.client(environ("192.0.2.9", "203.0.113.7"), older) == "192.0.2.9"


def test_client_is_the_first_address_where_everything_is_trusted() -> None:
    forwarded = environ("203.0.113.1", "192.0.2.1, 203.0.113.7")
    assert access.client(forwarded, configuration("*")) == "192.0.2.1"


def test_peer_of_a_unix_socket_is_trusted() -> None:
    assert (
        access.client({"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "192.0.2.1"}, configuration(""))
        == "192.0.2.1"
    )
    assert access.client({"REMOTE_ADDR": ""}, configuration("")) == "-"


def test_characters_that_end_a_line_are_escaped() -> None:
    request = {"REQUEST_METHOD": "GET", "RAW_URI": "/\x85\x9b\u2028\n", "SERVER_PROTOCOL": "HTTP/1.1"}
    known = access.fields(
        SimpleNamespace(status="200 OK", sent=3),
        environ("10.0.0.1", None, **request),
        timedelta(seconds=1.5),
        configuration(""),
    )
    assert known["uri"] == r"/\x85\x9b\u2028\n"
    assert known["duration_ms"] == 1500
    assert access.atoms(known)["r"] == r"GET /\x85\x9b\u2028\n HTTP/1.1"
