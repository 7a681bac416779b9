"""Metrics, alert rules, dashboard and log of a service that is not this project's, as docs/adopt.md shows."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.process.clients import get
from tests.process.prometheus import MONITORING, Prometheus, needs_prometheus
from tests.process.service import Service
from tests.process.test_adopted import DJANGO, DJANGO_URLS, example
from tests.waiting import wait_until

SERIES = re.compile(r"\b(?:lifecycle|streams|http)_[a-z_]+\b")
"""Series of the package in rules and dashboard."""

PARTICULAR = {"lifecycle_info", "http_requests_refused_total"}
"""Series that docs/adopt.md names as those of this repository's service, or of another extra."""

COUNTED = """
from prometheus_client import Counter

orders = Counter("orders", "Orders.")

def index(request):
    orders.inc()
    return JsonResponse({"message": "Hello"})
"""

EXPORTER = """
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from django.http import HttpResponse

def metrics(request):
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
"""
"""An exporter of prometheus_client's default registry, as most are."""

URLS = DJANGO_URLS.replace("]", ', path("metrics", metrics)]')
OWN_PAGE = DJANGO + COUNTED + example("def metrics(request)") + URLS
OTHER_EXPORTER = DJANGO + COUNTED + EXPORTER + example("REGISTRY.register") + URLS

DRAIN: dict[str, Any] = {"DRAIN_MIN": 2, "DRAIN_QUIET": 4, "DRAIN_MAX": 30, "DRAIN_PROBES": "/metrics"}
"""Several scrapes fit between a request after DRAIN_MIN and the exit."""

NO_FILE = ("-c", "python:gunicorn_drain.config", "-w", "2", "--threads", "4", "service:application")


def series(port: int) -> dict[str, float]:
    """Return the samples of /metrics by name; those with labels are left out."""
    families = text_string_to_metric_families(get(port, "/metrics").body.decode())
    return {each.name: each.value for family in families for each in family.samples if not each.labels}


def used() -> set[str]:
    """Return the package's series in alert rules and dashboard."""
    text = "".join((MONITORING / name).read_text() for name in ("alerts.yaml", "dashboard.json"))
    return set(SERIES.findall(text)) - PARTICULAR


@pytest.mark.parametrize("application", [OWN_PAGE, OTHER_EXPORTER], ids=["own page", "another exporter"])
def test_series_of_the_rules_are_exposed_without_a_configuration_file(
    application: str, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(application)
    with Service(*NO_FILE, directory=tmp_path, **DRAIN) as service:
        port = service.ready("/ready").port
        names = {
            family.name for family in text_string_to_metric_families(get(port, "/metrics").body.decode())
        }
        exposed = names | {f"{name}_total" for name in names}
        missing = used() - exposed
        assert missing == (set() if application is OWN_PAGE else {"streams_refused_total"})
        assert series(port)["lifecycle_ready"] == 1
        service.begin_drain("/ready")
        found = series(port)
        assert (found["lifecycle_ready"], found["lifecycle_draining"]) == (0, 1)
        assert found["lifecycle_drain_min_seconds"] == DRAIN["DRAIN_MIN"]


def test_counters_of_all_workers_are_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(OWN_PAGE)
    (tmp_path / "gunicorn.conf.py").write_text(
        "import gunicorn_drain.prometheus\nworkers = 2\ngunicorn_drain.prometheus.install(globals())\n"
        + example("gunicorn_drain.install")
    )
    with Service("service:application", directory=tmp_path) as service:
        port = service.ready("/ready").port
        for _ in range(20):
            assert get(port, "/").status == 200
        assert {series(port)["orders_total"] for _ in range(10)} == {20}
        assert series(port)["lifecycle_ready"] == 1


@pytest.mark.long
@pytest.mark.slow
@needs_prometheus
def test_rules_and_dashboard_hold_by_the_job_of_the_operator(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(OWN_PAGE)
    (job,) = yaml.safe_load(example("job_name: shop"))
    with (
        Service(*NO_FILE, directory=tmp_path, **DRAIN) as service,
        Prometheus(tmp_path, "shop", configured={"shop": job}) as prometheus,
    ):
        address = f"127.0.0.1:{service.ready('/ready').port}"
        prometheus.targets("shop", {address: {}})
        # The panel of blocked pods has data before the drain only; a range query looks at one point a second.
        before = 'count_over_time(lifecycle_draining{job="shop"}[1m]) >= 6'
        wait_until(lambda: prometheus.query(before), "scrapes before the drain")
        assert prometheus.query("ALERTS") == []
        service.begin_drain("/ready")
        while time.monotonic() < service.signalled + DRAIN["DRAIN_MIN"] + 0.5:
            assert get(service.port, "/").status == 200
            time.sleep(0.1)
        late = f'ALERTS{{alertname="RequestsLateInDrain", job="shop", pod="{address}", alertstate="firing"}}'
        wait_until(lambda: prometheus.query(late), "the alert of a late request")
        service.wait()
        panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
        expressions = [target["expr"] for panel in panels for target in panel["targets"]]
        of_the_package = [each for each in expressions if set(SERIES.findall(each)) & used()]
        of_the_package = [each for each in of_the_package if "lifecycle_info" not in each]
        shown = {
            each: prometheus.query_range(each.replace("$namespace", ".*").replace("$job", "shop"), 300)
            for each in of_the_package
        }
        assert len(shown) > 8
        cluster = {each for each in shown if "kube_" in each or "prober_" in each}
        refused = {each for each in shown if "streams_refused" in each}  # without WebSockets there is no kind
        assert {each for each, data in shown.items() if not data} <= cluster | refused
        assert not prometheus.query_range('lifecycle_ready{job="flask"}', 300)


LOGGING = """
import gunicorn_drain
threads, graceful_timeout = 4, 5
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"shop": {"format": "shop %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"shop": {"class": "logging.StreamHandler", "formatter": "shop"}},
    "root": {"level": "INFO", "handlers": ["shop"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["shop"], "propagate": False}},
}
gunicorn_drain.install(globals(), readiness="/ready")
"""


def test_lines_of_a_drain_have_the_format_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(DJANGO + DJANGO_URLS)
    (tmp_path / "gunicorn.conf.py").write_text(LOGGING)
    with Service("service:application", directory=tmp_path, DRAIN_MIN=1, DRAIN_QUIET=0.2) as service:
        service.ready("/ready")
        service.begin_drain("/ready")
        service.wait()
        for line in ("Drain began: not ready", "Drain ended: quiet; 0 requests", "Stopped: every request"):
            assert service.said(f"shop INFO gunicorn.error: {line}") == 1, service.log
