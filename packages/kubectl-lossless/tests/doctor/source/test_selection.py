"""Names of workloads, as kubectl reads them."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.source.loaded import SourceError
from kubectl_lossless.doctor.source.selection import Wanted, wanted


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["deploy/web"], [Wanted("Deployment", "web")]),
        (["Deployment/web"], [Wanted("Deployment", "web")]),
        (["deployments.apps/web", "sts/db"], [Wanted("Deployment", "web"), Wanted("StatefulSet", "db")]),
        (["deploy", "web", "api"], [Wanted("Deployment", "web"), Wanted("Deployment", "api")]),
        (["rollout.argoproj.io/web"], [Wanted("Rollout", "web")]),
        (["ds"], [Wanted("DaemonSet")]),
        (["dc/web"], [Wanted("DeploymentConfig", "web")]),
        (["web"], [Wanted(name="web")]),
        ([], []),
    ],
)
def test_names_are_read_as_by_kubectl(words: list[str], expected: list[Wanted]) -> None:
    assert wanted(words) == expected


@pytest.mark.parametrize(("word", "says"), [("svc/web", "names the kind 'svc'"), ("deploy/", "has no name")])
def test_unknown_name_is_refused(word: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        wanted([word])
