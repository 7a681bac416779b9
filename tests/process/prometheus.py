"""A real Prometheus with the rules of k8s/monitoring/, which scrapes the services of a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import requests
import yaml

from tests.ports import port_of, reservation
from tests.process.service import ROOT
from tests.waiting import wait_until

MONITORING = ROOT / "k8s" / "monitoring"
START = 60.0
"""Timeout for Prometheus to be ready on a busy machine, in seconds; usually it takes one."""

Labels = dict[str, str]

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs prometheus (Debian: apt-get install prometheus)"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian: apt-get install prometheus)"
)


def rules() -> list[dict[str, Any]]:
    """Return every rule of k8s/monitoring/alerts.yaml."""
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def jobs() -> dict[str, dict[str, Any]]:
    """Return the scrape configurations of k8s/monitoring/prometheus.yaml by job name."""
    found = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())["scrape_configs"]
    return {each["job_name"]: each for each in found}


def with_targets_from(job: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a job with targets from a file: Debian's Prometheus is built without Kubernetes' discovery."""
    kept = {
        key: value for key, value in job.items() if key not in ("kubernetes_sd_configs", "static_configs")
    }
    # Shorter intervals than in production, because a busy test machine delays scrapes; alerts.test.yaml has
    # the intervals of production.
    return {
        **kept,
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "file_sd_configs": [{"files": [str(file)], "refresh_interval": "1s"}],
    }


class Prometheus:
    """A Prometheus on a separate port. A context manager, at whose end the process has exited.

    `scrape_jobs`: names of jobs of k8s/monitoring/prometheus.yaml, or of `configured`.
    """

    def __init__(
        self, directory: Path, *scrape_jobs: str, configured: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        self._directory = directory
        configured = configured or jobs()
        self._files = {name: directory / f"{name}.json" for name in scrape_jobs}
        for name in scrape_jobs:
            self.targets(name, {})
        rules_of_drains = (MONITORING / "alerts.yaml").read_text().replace("interval: 2s", "interval: 500ms")
        (directory / "alerts.yaml").write_text(rules_of_drains)
        configuration = directory / "prometheus.yaml"
        configuration.write_text(
            yaml.safe_dump(
                {
                    "rule_files": ["alerts.yaml"],
                    "scrape_configs": [
                        with_targets_from(configured[name], file) for name, file in self._files.items()
                    ],
                }
            )
        )
        self._reservation = reservation()
        self._url = f"http://127.0.0.1:{port_of(self._reservation)}"
        self._log = (directory / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                *(
                    "prometheus",
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory / 'data'}",
                ),
                f"--web.listen-address={self._url.removeprefix('http://')}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        try:
            wait_until(self._ready, "Prometheus is ready", START)
        except AssertionError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(START)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._reservation.close()

    def _ready(self) -> bool:
        log = (self._directory / "prometheus.log").read_text
        assert self._process.poll() is None, f"Prometheus ended:\n{log()}"
        try:
            return requests.get(f"{self._url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def targets(self, job: str, targets: dict[str, Labels]) -> None:
        """Scrape these addresses, with these labels before relabelling, and no others."""
        file = self._files[job]
        made = [{"targets": [address], "labels": labels} for address, labels in targets.items()]
        new = file.with_suffix(".new")
        new.write_text(json.dumps(made))
        new.rename(file)  # Prometheus must not read half of the file

    def ask(self, path: str, **parameters: str | float) -> Any:
        """Query the API. Raises AssertionError for a refused query, such as an invalid expression."""
        response = requests.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert response["status"] == "success", response
        return response["data"]

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """Evaluate an expression now."""
        return [
            (each["metric"], float(each["value"][1]))
            for each in self.ask("query", query=expression)["result"]
        ]

    def query_range(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """Evaluate an expression over the last `seconds`."""
        now = time.time()
        parameters: dict[str, str | float] = {
            "query": expression,
            "start": now - seconds,
            "end": now,
            "step": 1,
        }
        found: list[dict[str, Any]] = self.ask("query_range", **parameters)["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """Return the firing alerts: the name, and the pod or version."""
        return {
            (each["labels"]["alertname"], each["labels"].get("pod") or each["labels"].get("version", ""))
            for each in self.ask("alerts")["alerts"]
            if each["state"] == "firing"
        }

    def scraped(self, pod: str) -> bool:
        """Return True if a pod has been scraped."""
        return bool(self.query(f'up{{pod="{pod}"}} == 1'))
