"""More kinds of manifests, with what counts in them for the exit status."""

from __future__ import annotations

import pytest

from doctor.helpers import LOSES, RISKS, dump, findings
from doctor.kinds import KINDS, manifest


@pytest.mark.parametrize("name", KINDS)
def test_kind_has_the_findings_that_count(name: str) -> None:
    found = findings(dump(manifest(name)))
    assert {(each.severity, each.check) for each in found if each.severity in (LOSES, RISKS)} == KINDS[name][
        1
    ]
