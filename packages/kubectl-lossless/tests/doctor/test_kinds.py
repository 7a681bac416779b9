"""More kinds of manifests, with what counts in them for the exit status."""

from __future__ import annotations

import pytest

from doctor.all_kinds import ALL, PARTS, manifest
from doctor.helpers import LOSES, RISKS, dump, findings


@pytest.mark.parametrize("name", ALL)
def test_kind_has_the_findings_that_count(name: str) -> None:
    found = findings(dump(manifest(name)))
    assert {(each.severity, each.check) for each in found if each.severity in (LOSES, RISKS)} == ALL[name][1]


def test_kinds_have_different_names() -> None:
    assert len(ALL) == sum(map(len, PARTS))
