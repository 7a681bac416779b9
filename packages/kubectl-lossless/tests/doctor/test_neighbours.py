"""The objects around a workload, and their selectors."""

from __future__ import annotations

import pytest

from doctor.helpers import base, dump, only
from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.neighbours import Neighbours, selects


def test_neighbours_are_those_of_the_namespace() -> None:
    objects = base()
    objects[1]["metadata"]["namespace"] = "other"
    assert only(dump(objects)).services == []
    document = Document(objects[1])
    around = Neighbours([document])
    assert around.everywhere("Service") == [document]
    assert around.named("Service web", "other") is document
    assert around.named("Service web", "demo") is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
    ],
)
def test_selector_is_that_of_kubernetes(expression: dict[str, object], expected: bool) -> None:
    assert selects({"matchLabels": {"a": "1"}, "matchExpressions": [expression]}, {"a": "1"}) is expected
