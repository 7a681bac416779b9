"""Paths and changes."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_lossless.doctor.finding import REMOVE, Change, apply, shown


def test_path_has_the_form_of_kubectl_explain() -> None:
    assert shown(("spec", "containers", 0, "env", 1, "value")) == "spec.containers[0].env[1].value"
    assert shown(("metadata", "annotations", "a.b/c")) == 'metadata.annotations["a.b/c"]'
    assert shown(()) == ""


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({}, Change(("a", "b"), 1), {"a": {"b": 1}}),
        ({"a": None}, Change(("a", "b"), 1), {"a": {"b": 1}}),
        ({"a": [1]}, Change(("a", 1), 2), {"a": [1, 2]}),
        ({"a": [1, 2]}, Change(("a", 0), 3), {"a": [3, 2]}),
        ({}, Change(("a", 0), "x"), {"a": ["x"]}),
        ({"a": 1, "b": 2}, Change(("a",), REMOVE), {"b": 2}),
        ({"a": [1, 2]}, Change(("a", 0), REMOVE), {"a": [2]}),
        ({"b": 2}, Change(("a",), REMOVE), {"b": 2}),
    ],
)
def test_change_is_made_in_place(before: Any, change: Change, after: Any) -> None:
    apply(before, change)
    assert before == after
