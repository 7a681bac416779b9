"""Names and Services as the API server takes them. What is refused: doctor/kinds_of_refusals.py."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kubectl_lossless.doctor.checks.values import DNS_LABEL, HOST, LABEL_VALUE, is_external, is_wrong_name
from kubectl_lossless.doctor.documents import Document


@pytest.mark.parametrize(
    ("name", "pattern", "wrong"),
    [
        ("web-1", DNS_LABEL, False),
        ("", DNS_LABEL, False),
        ("a" * 63, DNS_LABEL, False),
        ("a" * 64, DNS_LABEL, True),
        ("web-", DNS_LABEL, True),
        ("${NAME}", DNS_LABEL, False),
        ("1.0_rc-2", LABEL_VALUE, False),
        ("-1", LABEL_VALUE, True),
        ("*.shop.test", HOST, False),
        ("shop_1.test", HOST, True),
    ],
)
def test_wrong_name_is_reported_except_a_placeholder(
    name: str, pattern: re.Pattern[str], wrong: bool
) -> None:
    assert is_wrong_name(name, pattern) is wrong


@pytest.mark.parametrize(
    ("spec", "external"),
    [
        ({}, False),
        ({"type": "NodePort"}, True),
        ({"externalIPs": ["192.0.2.1"]}, True),
        ({"type": "ExternalName"}, False),
    ],
)
def test_service_is_external_by_its_type_or_its_addresses(spec: dict[str, Any], external: bool) -> None:
    assert is_external(Document({"spec": spec})) is external
