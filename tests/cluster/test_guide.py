"""Every command of the guide, run on the cluster in the guide's order."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubectl_lossless.kubectl import Kubectl
from tests.cluster.conftest import K8S
from tools.docs import blocks
from tools.docs.figures import ROOT


@pytest.mark.deletes_namespace
@pytest.mark.timeout(1200)
def test_output_of_every_command_matches_the_guide(
    kubectl: Kubectl, disruptive: bool, manifests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if manifests != K8S:
        pytest.skip("the guide pushes to a registry, and rolls the images from there")
    monkeypatch.setenv("CONTEXT", str(kubectl.context))
    kubectl("delete", "namespace", "flask-cluster", "--ignore-not-found", "--wait", timeout=180)
    wrong = blocks.run(ROOT / "docs" / "rolling-updates.md", ROOT, disruptive=disruptive)
    assert not wrong, "\n\n".join(wrong)
