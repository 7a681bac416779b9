"""Every command of the guide, run on the cluster in the guide's order."""

from __future__ import annotations

import pytest

from guide import blocks
from guide.figures import ROOT
from rollout.kubectl import Kubectl


@pytest.mark.timeout(1200)
def test_every_command_does_what_the_guide_says(kubectl: Kubectl) -> None:
    kubectl("delete", "namespace", "flask-cluster", "--ignore-not-found", "--wait", timeout=180)
    wrong = blocks.run(ROOT / "docs" / "rolling-updates.md", ROOT)
    assert not wrong, "\n\n".join(wrong)
