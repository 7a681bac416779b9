"""Files and variables from ConfigMaps."""

from __future__ import annotations

import pytest

from doctor.helpers import base, dump, only
from doctor.kinds import of_container
from kubectl_lossless.doctor.config_maps import expanded


def test_environment_includes_config_maps() -> None:
    maps = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "demo"},
        "data": {"A": "1"},
    }
    objects = [*base(of_container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "m"}}])), maps]
    assert only(dump(objects)).app.environment == {"P_A": "1"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)/$(B)", "1/$(B)"),
        ("$$(A)", "$(A)"),
        ("kill $$", "kill $"),
        ("$(a b) $A ${A} $(A", "$(a b) $A ${A} $(A"),
    ],
)
def test_text_is_expanded_as_by_kubernetes(text: str, result: str) -> None:
    assert expanded(text, {"A": "1"}) == result


def test_variable_from_a_secret_is_not_known() -> None:
    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}}
    entries = [{"name": "B", "value": "x"}, secret, {"name": "C", "value": "$(B) $(A)"}, {"name": "D"}]
    found = only(dump(base(of_container(env=entries)))).app.environment
    assert found == {"B": "x", "C": "x $(A)", "D": ""}
