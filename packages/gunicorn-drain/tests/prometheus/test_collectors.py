"""Tests of gunicorn_drain/prometheus/collectors.py in one process."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Info
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from gunicorn_drain import Drain
from gunicorn_drain.prometheus import VARIABLE, WorkersCollector, scrape_registry


@pytest.mark.parametrize("shared", [False, True])
def test_scrape_has_the_counts_of_all_workers_or_of_this_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    alone, info = CollectorRegistry(), Info("service", "Version.", registry=None)
    Counter("orders", "Orders.", registry=alone).inc()
    info.info({"version": "v1"})
    monkeypatch.delenv(VARIABLE, raising=False)
    if shared:
        file: Any = MmapedDict(str(tmp_path / "counter_1.db"))  # type: ignore[no-untyped-call]
        file.write_value(mmap_key("orders", "orders_total", [], [], "Orders."), 3, 0)
        file.close()
        monkeypatch.setenv(VARIABLE, str(tmp_path))
    registry = scrape_registry(Drain(), info, alone=alone)
    assert registry.get_sample_value("orders_total") == (3 if shared else 1)
    assert registry.get_sample_value("service_info", {"version": "v1"}) == 1
    assert registry.get_sample_value("lifecycle_ready") == 0


def test_scrape_waits_for_a_file_that_is_being_created(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    with pytest.raises(struct.error):  # the error that the scrape has to avoid by waiting
        MultiProcessCollector(CollectorRegistry(), str(tmp_path)).collect()  # type: ignore[no-untyped-call]

    def created() -> None:
        file: Any = MmapedDict(str(tmp_path / "counter_1.db"))  # type: ignore[no-untyped-call]
        file.write_value(mmap_key("asked", "asked_total", [], [], "Requests."), 3, 0)
        file.close()

    timer = threading.Timer(0.1, created)
    timer.start()
    (found,) = WorkersCollector(CollectorRegistry(), str(tmp_path)).collect()
    timer.join()
    assert found.samples[0].value == 3
