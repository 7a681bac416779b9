"""Requests, good responses, and TLS on real sockets."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubectl_lossless.measure.load.clients import Plan, general, slow
from kubectl_lossless.measure.load.connection import Connection
from kubectl_lossless.measure.load.lost import Kind, Lost
from kubectl_lossless.measure.load.target import Target, ranges

TARGET = Target.of("http://x")


@pytest.mark.parametrize(
    ("text", "found"),
    [("200", ((200, 200),)), ("200-299,404", ((200, 299), (404, 404))), (" 503 ", ((503, 503),))],
)
def test_statuses_are_read(text: str, found: tuple[tuple[int, int], ...]) -> None:
    assert ranges(text) == found


@pytest.mark.parametrize("text", ["", "ok", "99", "600", "300-200", "200-", "2xx"])
def test_malformed_statuses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are 100 to 599"):
        ranges(text)


def test_response_is_good_by_its_status() -> None:
    assert TARGET.check(302, {}, b"") == {"version": "", "pod": ""}
    with pytest.raises(Lost, match=r"status 502 \(envoy\): no upstream") as lost:
        TARGET.check(502, {"server": "envoy"}, b"no upstream")
    assert (lost.value.kind, lost.value.status, lost.value.via) == (Kind.SERVER_ERROR, 502, "envoy")
    assert replace(TARGET, expect=((503, 503),)).check(503, {}, b"") == {"version": "", "pod": ""}
    with pytest.raises(Lost, match="status 200"):
        replace(TARGET, expect=((503, 503),)).check(200, {}, b"")


def test_response_names_its_version_by_header_or_field() -> None:
    headers = {"content-type": "application/json"}
    assert TARGET.check(200, headers, b'{"version": 3, "pod": "a"}') == {"version": "3", "pod": "a"}
    assert TARGET.check(200, {"x-version": "v2"}, b"hello") == {"version": "v2", "pod": ""}
    assert (
        TARGET.check(200, headers, b"[1]") == TARGET.check(200, headers, b"{") == {"version": "", "pod": ""}
    )
    assert TARGET.check(200, headers, b'{"version": {"a": 1}}')["version"] == ""
    named = replace(TARGET, version_headers=("X-Build",), version_fields=())
    assert named.check(200, {**headers, "x-build": "7"}, b'{"version": 3}')["version"] == "7"


@pytest.mark.parametrize("rps", [1.0, 20.0, 400.0])
@pytest.mark.parametrize("connections", [2, 10, 200])
@pytest.mark.parametrize("kinds", [("new",), ("busy",), ("idle",), ("new", "busy", "idle")])
def test_clients_send_the_rate_that_was_asked_for(
    rps: float, connections: int, kinds: tuple[str, ...]
) -> None:
    found = general(rps, connections, kinds, [0])
    sent = 0.0
    for client, number in found:
        assert number >= 1
        sent += number / (sum(client.idle) / 2 if client.idle else client.every)
    assert sent <= rps * 1.01  # never more than the rate asked for
    if "idle" not in kinds:
        assert sent == pytest.approx(rps)
    assert sum(number for client, number in found if client.keep) == (0 if kinds == ("new",) else connections)


def test_each_target_has_clients() -> None:
    plan = Plan((TARGET, TARGET, TARGET), (*general(20, 10, ["new", "busy"], [0, 1]), slow([2], 3.0)))
    assert plan.kinds["new"].targets == (0, 1)
    assert plan.mix["new"] >= 2
    assert plan.kinds["slow"].targets == (2,)
    assert plan.slowest == 13.0


def test_too_few_connections_are_refused() -> None:
    with pytest.raises(ValueError, match="1 kept connections are too few"):
        general(20, 1, ["busy", "idle"], [0])


def test_plan_survives_its_json() -> None:
    target = Target.of(
        "https://x/a", "shop", headers=(("A", "b"),), body="ü", method="POST", expect=((200, 204),)
    )
    plan = Plan((target, TARGET), (*general(20, 10, ["new", "busy", "idle"], [0, 1]), slow([1], 3.0)), 7.5)
    assert Plan.from_json(plan.to_json()) == plan


# ---- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a private authority and its certificate for shop.example."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    # Python 3.13 verifies as RFC 5280 has it: the authority has a key usage, its certificate names its key.
    ca = ("-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign")
    openssl(*new, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.crt", *ca)
    openssl(*new, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=shop.example")
    (folder / "names").write_text("subjectAltName=DNS:shop.example\nauthorityKeyIdentifier=keyid\n")
    signed = ("-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
    openssl("x509", *signed, "-days", "2", "-out", "tls.crt", "-extfile", "names")
    return folder


class Hello(http.server.BaseHTTPRequestHandler):
    """Responds, and keeps the connection for half a second."""

    protocol_version = "HTTP/1.1"
    timeout = 0.5

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", self.headers["Host"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Quiet(http.server.ThreadingHTTPServer):
    """Does not print that a client trusts it not."""

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def secured(authority: Path) -> Iterator[Target]:
    """Start a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "tls.crt", authority / "tls.key")
    server = Quiet(("127.0.0.1", 0), Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    ca = (authority / "ca.crt").read_text()
    yield Target.of(
        f"https://127.0.0.1:{server.server_port}", "shop.example", ca=ca, method="POST", body="hi"
    )
    server.shutdown()
    thread.join()
    server.server_close()


def test_certificate_of_a_private_authority_is_checked_for_the_host(secured: Target) -> None:
    with closing(Connection(secured, 5)) as connection:
        assert connection.get() == {"version": "shop.example", "pod": ""}
        assert not connection.closed_within(0.1)  # session tickets are no end
        assert connection.get()["version"] == "shop.example"
        assert connection.closed_within(5)
        assert not connection.open


@pytest.mark.parametrize("change", [{"ca": ""}, {"host": "other.example"}])
def test_untrusted_certificate_is_reported(secured: Target, change: dict[str, Any]) -> None:
    with pytest.raises(Lost, match="the certificate is not trusted") as lost:
        Connection(replace(secured, **change), 5).get()
    assert lost.value.phase == "handshake"


def test_insecure_checks_no_certificate(secured: Target) -> None:
    with closing(Connection(replace(secured, ca="", host="other.example", insecure=True), 5)) as connection:
        assert connection.get()["version"] == "other.example"


def test_file_that_holds_no_certificate_is_refused(secured: Target) -> None:
    with pytest.raises(ValueError, match="no certificate can be read"):
        Connection(replace(secured, ca="nothing"), 5)
