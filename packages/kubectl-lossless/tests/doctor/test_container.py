"""A container's part in its pod."""

from __future__ import annotations

from doctor.helpers import base, dump, only
from doctor.kinds import beside


def test_exporter_is_no_proxy() -> None:
    found = only(dump(base(beside(name="e", image="nginx/nginx-prometheus-exporter:1"))))
    assert [each.proxy for each in found.plain] == [False, False]
