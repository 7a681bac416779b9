"""More kinds of manifests, with what counts in them for the exit status."""

from __future__ import annotations

import pytest

from doctor.all_kinds import ALL, manifest
from doctor.helpers import LOSES, RISKS, dump, findings
from doctor.kinds import KINDS
from doctor.kinds_of_fields import FIELDS
from doctor.kinds_of_forms import FORMS
from doctor.kinds_of_pods import PODS
from doctor.kinds_of_servers import SERVERS
from doctor.kinds_of_starts import STARTS
from doctor.kinds_of_updates import UPDATES


@pytest.mark.parametrize("name", ALL)
def test_kind_has_the_findings_that_count(name: str) -> None:
    found = findings(dump(manifest(name)))
    assert {(each.severity, each.check) for each in found if each.severity in (LOSES, RISKS)} == ALL[name][1]


def test_kinds_have_different_names() -> None:
    assert len(ALL) == sum(map(len, (KINDS, FIELDS, FORMS, PODS, SERVERS, STARTS, UPDATES)))
