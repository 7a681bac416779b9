"""The alert rules and the dashboard on a real Prometheus, which scrapes real services during their drains."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.ports import reserve_port
from tests.process.clients import Connection, Crowd, Kind, Lost, get
from tests.process.prometheus import MONITORING, Prometheus, needs_prometheus, rules
from tests.process.service import Service
from tests.waiting import CONDITION_TIMEOUT, wait_until

pytestmark = [needs_prometheus, pytest.mark.timeout(600), pytest.mark.long]

DRAIN: dict[str, Any] = {"DRAIN_MIN": 4, "DRAIN_QUIET": 0.5, "DRAIN_MAX": 16, "GRACEFUL_TIMEOUT": 4}
OTHER: dict[str, dict[str, Any]] = {
    # Its clients may need some seconds to stop after SIGTERM, on a busy machine.
    "healthy": {"DRAIN_MIN": 10},
    # Several scrapes fit between the late request and the exit, so that a delayed scrape matters little. The
    # exit comes before the drain is longer than usual.
    "late": {"DRAIN_QUIET": 8, "DRAIN_MAX": 30},
    # On a busy machine 0.5 s may pass between two requests of its client.
    "endless": {"DRAIN_QUIET": 2},
}
# A version with a mistake, as an operator may roll it out: the service with one more, broken endpoint.
BROKEN = """
from app import create_app as sound

def create_app():
    app = sound()
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    return app
"""


def healthy(service: Service) -> None:
    """Drain with clients that leave as soon as the drain begins."""
    with Crowd(lambda: service.port, (Kind("kept"), Kind("new", kept=False))) as crowd:
        wait_until(crowd.everyone_served, "traffic")
        service.begin_drain()
    assert crowd.lost == 0, str(crowd)
    service.wait()
    assert service.said("Stopped: every request completed") == 1


def late(service: Service) -> None:
    """Drain with one client that follows the endpoints too late."""
    service.begin_drain()
    while time.monotonic() < service.signalled + DRAIN["DRAIN_MIN"] + 0.5:
        assert get(service.port, "/api").status == 200
        time.sleep(0.2)
    service.wait()
    assert service.said("Drain ended: quiet") == 1


def endless(service: Service) -> None:
    """Drain with a client that does not stop."""
    service.begin_drain()
    with contextlib.suppress(Lost, OSError):
        while True:
            get(service.port, "/api")
            time.sleep(0.05)
    service.wait()
    assert service.said("Drain ended: maximum") == 1


def stuck(service: Service) -> None:
    """Drain with two requests that outlast the drain and the graceful timeout."""
    with Connection(service.port) as one, Connection(service.port) as other:
        one.send("/api/sleep/50")
        other.send("/api/sleep/50")
        wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 2, "both in flight")
        service.begin_drain()
        service.wait()
    assert service.said("Drain ended: maximum; 0 requests completed") == 1
    assert service.said("Stopped: 2 requests aborted") == 1


DRAINS: dict[str, Callable[[Service], None]] = {
    "healthy": healthy,
    "late": late,
    "endless": endless,
    "stuck": stuck,
}

EXPECTED = {
    ("RequestsLateInDrain", "late"),
    ("RequestsLateInDrain", "endless"),
    ("DrainLongerThanUsual", "endless"),
    ("DrainReachesMaximum", "endless"),
    ("DrainLongerThanUsual", "stuck"),
    ("DrainReachesMaximum", "stuck"),
    ("RequestsInFlightAtExit", "stuck"),
}
MAY_FIRE = {("RequestsInFlightAtExit", "endless")}
"""Alerts that depend on chance: a scrape may find one of the quick requests in flight."""


@contextlib.contextmanager
def cluster(restarts: threading.Event) -> Iterator[str]:
    """Serve the series of kube-state-metrics and the kubelets on a pod, in their format; yield the address.

    Neither program is available here: the series are simulated, and Prometheus itself evaluates the rules and
    the dashboard. `restarts`: once set, the pod has been restarted and was unready in between.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            bad = restarts.is_set()
            Handler.asked += bad
            ready = Handler.asked % 2 if Handler.asked < 6 else 1
            pod = 'namespace="test",pod="restarted"'
            self.send_response(200)
            self.end_headers()
            series = {
                f'kube_pod_container_status_restarts_total{{{pod},container="flask"}}': int(bad),
                f'kube_pod_status_ready{{{pod},condition="true"}}': ready,
                f'prober_probe_total{{{pod},container="flask",probe_type="Liveness",result="failed"}}': 3
                * bad,
            }
            self.wfile.write("".join(f"{name} {value}\n" for name, value in series.items()).encode())

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def pod(name: str) -> dict[str, str]:
    """Return the labels from discovery of a pod that the relabelling of prometheus.yaml uses."""
    return {
        "__meta_kubernetes_pod_label_app": "flask",
        "__meta_kubernetes_pod_container_name": "flask",
        "__meta_kubernetes_pod_container_port_number": "8080",
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_namespace": "test",
        "__meta_kubernetes_pod_name": name,
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture(scope="module")
def prometheus(directory: Path) -> Iterator[Prometheus]:
    with Prometheus(directory, "flask") as started:
        yield started


def test_drains_fire_the_expected_alerts(prometheus: Prometheus) -> None:
    with contextlib.ExitStack() as stack:
        services = {
            name: stack.enter_context(
                Service(WORKERS=1, APP_VERSION="v1", **DRAIN | OTHER.get(name, {}))
            ).ready()
            for name in DRAINS
        }
        prometheus.targets("flask", {f"127.0.0.1:{each.port}": pod(name) for name, each in services.items()})
        for name in services:
            wait_until(partial(prometheus.scraped, name), f"a scrape of {name}")
        assert prometheus.firing() == set()
        with ThreadPoolExecutor(len(DRAINS)) as pool:
            list(pool.map(lambda name: DRAINS[name](services[name]), DRAINS))
    prometheus.targets("flask", {})  # the pods are deleted; Prometheus keeps their data
    wait_until(lambda: not prometheus.query("lifecycle_info"), "their series end")
    assert prometheus.firing() - MAY_FIRE == EXPECTED


def test_killed_worker_and_restarted_container_fire_alerts(prometheus: Prometheus) -> None:
    port = reserve_port()  # the restarted container serves on the same port
    with Service("-b", f"127.0.0.1:{port}", bind=False, WORKERS=1) as first:
        first.ready()
        prometheus.targets("flask", {f"127.0.0.1:{port}": pod("killed")})
        wait_until(lambda: prometheus.scraped("killed"), "a scrape")
        before = prometheus.firing()
        with Connection(port) as connection:
            connection.send("/api/sleep/60")
            wait_until(lambda: first.metric("lifecycle_requests_in_flight") == 1, "in flight")
            os.kill(first.workers[0], signal.SIGKILL)
            expected = before | {("RequestsCutOff", "killed")}
            wait_until(lambda: prometheus.firing() >= expected, "RequestsCutOff")
        assert prometheus.firing() == expected
        first.signal(signal.SIGINT)
        first.wait()
    with Service("-b", f"127.0.0.1:{port}", bind=False) as second:
        second.ready()
        expected |= {("ContainerRestarted", "killed")}
        wait_until(lambda: prometheus.firing() >= expected, "ContainerRestarted")
    assert prometheus.firing() == expected


def test_refusals_and_stalled_responses_fire_alerts(prometheus: Prometheus) -> None:
    settings: dict[str, Any] = {"WORKERS": 1, "THREADS": 2, "STREAM_LIMIT": 1, "SEND_TIMEOUT": 1}
    with Service(**settings) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        prometheus.targets("flask", {f"127.0.0.1:{port}": pod("greedy")})
        wait_until(lambda: prometheus.scraped("greedy"), "a scrape")
        before = prometheus.firing()
        stack.enter_context(Connection(port)).send("/api/events")
        wait_until(lambda: service.metric('streams_open{kind="events"}') == 1, "a stream")
        assert service.get("/api/events").status == 503
        deaf = stack.enter_context(Connection(port))
        deaf.socket.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 4000)
        refused = {(name, "greedy") for name in ("StreamsRefused", "RequestsRefused", "ResponsesStalled")}

        def fire() -> bool:
            for _ in range(5):
                assert service.get("/api", "Cookie: " + 9000 * "a").status == 431
            return prometheus.firing() - before >= refused

        wait_until(fire, "what is refused and stalled")
        assert prometheus.firing() - before == refused
        for _ in range(4):
            stack.enter_context(Connection(port)).send("/api/sleep/60")
        expected = refused | {("ReadinessBlocked", "greedy")}
        wait_until(lambda: prometheus.firing() - before == expected, "ReadinessBlocked")


def test_failing_version_fires_an_alert(prometheus: Prometheus, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    with (
        Service(APP_VERSION="v1") as good,
        Service("--pythonpath", str(tmp_path), "broken:create_app()", APP_VERSION="v2") as bad,
    ):
        targets = {good.ready().port: "good", bad.ready().port: "bad"}
        prometheus.targets("flask", {f"127.0.0.1:{port}": pod(name) for port, name in targets.items()})
        before = prometheus.firing()

        def ask(port: int) -> None:
            paths = ["/api", "/nowhere", "/health/ready"] + ["/broken"] * (targets[port] == "bad")
            statuses = {path: get(port, path).status for path in paths}
            expected = {"/api": 200, "/nowhere": 404, "/health/ready": 200, "/broken": 500}
            assert statuses == {path: expected[path] for path in paths}

        def fails() -> bool:
            for port in targets:
                ask(port)
            return ("VersionFails", "v2") in prometheus.firing()

        wait_until(fails, "VersionFails")
        assert prometheus.firing() - before == {("VersionFails", "v2")}


def test_every_panel_of_the_dashboard_has_data(tmp_path: Path) -> None:
    restarts = threading.Event()
    with (
        cluster(restarts) as address,
        Prometheus(tmp_path, "flask", "kube-state-metrics") as prometheus,
        Service(APP_VERSION="v1", **DRAIN) as service,
    ):
        prometheus.targets("flask", {f"127.0.0.1:{service.ready().port}": pod("restarted")})
        meta = {
            "__meta_kubernetes_service_label_app_kubernetes_io_name": "kube-state-metrics",
            "__meta_kubernetes_endpoint_port_name": "http",
        }
        prometheus.targets("kube-state-metrics", {address: meta})
        wait_until(lambda: prometheus.query("kube_pod_status_ready == 0"), "the cluster's series")
        restarts.set()
        expected = {("RestartedByLiveness", "restarted"), ("ReadinessFlapping", "restarted")}
        wait_until(
            lambda: (
                get(service.port, "/api").status == 200
                and get(service.port, "/api", "Cookie: " + 9000 * "a").status == 431
                and prometheus.firing() - {("RequestsRefused", "restarted")} == expected
            ),
            "what the cluster's series say",
            3 * CONDITION_TIMEOUT,
        )
        service.begin_drain()
        get(service.port, "/api")
        service.wait()
        for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$namespace", ".*").replace("$job", "flask")
                found = prometheus.query_range(expression, 300)
                assert found, f"{panel['title']}: {expression} has no data"


def test_every_alert_is_tested() -> None:
    tried = {name for name, _ in EXPECTED} | {"RequestsCutOff", "ContainerRestarted", "VersionFails"}
    tried |= {"RestartedByLiveness", "ReadinessFlapping", "ReadinessBlocked", "ResponsesStalled"}
    tried |= {"StreamsRefused", "RequestsRefused"}
    assert tried == {rule["alert"] for rule in rules() if "alert" in rule}
