"""Helper that the exporter's tests import, and that its source archive does not contain."""

import unittest
from importlib.metadata import version
from typing import Any

import prometheus_flask_exporter
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families


class BaseTestCase(unittest.TestCase):
    """An application with the exporter's metrics, and assertions about those."""

    def setUp(self) -> None:
        self.app = Flask(__name__)
        self.app.testing = True
        self.client = self.app.test_client()

    def metrics(self, **options: Any) -> Any:
        registry = CollectorRegistry(auto_describe=True)
        return prometheus_flask_exporter.PrometheusMetrics(self.app, registry=registry, **options)

    def values(self, name: str, labels: tuple[tuple[str, Any], ...], endpoint: str) -> list[float]:
        wanted = {label: str(value) for label, value in labels}
        text = self.client.get(endpoint).get_data(as_text=True)
        return [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == wanted
        ]

    def assertMetric(  # noqa: N802 - the exporter's name
        self, name: str, value: Any, *labels: tuple[str, Any], endpoint: str = "/metrics"
    ) -> None:
        assert self.values(name, labels, endpoint) == [float(value)]

    def assertAbsent(  # noqa: N802 - the exporter's name
        self, name: str, *labels: tuple[str, Any], endpoint: str = "/metrics"
    ) -> None:
        assert not self.values(name, labels, endpoint)

    def assumeMinimumFlaskVersion(self, least: str) -> None:  # noqa: N802 - the exporter's name
        if _numbers(version("flask")) < _numbers(least):
            self.skipTest(f"needs Flask {least}")

    def assumeBeforeFlaskVersion(self, limit: str) -> None:  # noqa: N802 - the exporter's name
        if _numbers(version("flask")) >= _numbers(limit):
            self.skipTest(f"needs Flask before {limit}")


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(".")]
