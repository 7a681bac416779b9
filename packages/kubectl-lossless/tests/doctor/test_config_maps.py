"""Files and variables from ConfigMaps."""

from __future__ import annotations

from doctor.helpers import base, dump, only
from doctor.kinds import of_container


def test_environment_includes_config_maps() -> None:
    maps = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "demo"},
        "data": {"A": "1"},
    }
    objects = [*base(of_container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "m"}}])), maps]
    assert only(dump(objects)).app.environment == {"P_A": "1"}
