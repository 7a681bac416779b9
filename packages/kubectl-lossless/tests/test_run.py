"""The beginning of a rollout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure.load.clients import Plan
from kubectl_lossless.measure.run import Action, Console, Measurement, Run
from kubectl_lossless.measure.workload import Reference


class Notes(Console):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def deployment(version: str) -> dict[str, Any]:
    template = {"metadata": {"annotations": {"restarted": version}}}
    return {"metadata": {"name": "web", "generation": 2}, "spec": {"template": template}}


def test_begin_of_a_rollout_does_not_repeat_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nif 'get' in sys.argv: print({json.dumps(deployment('new'))!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    reference, action, notes = Reference("deployment", "web"), Action(restart=True), Notes()
    asked = Measurement(reference, "demo", Plan((), ()), action)
    nothing = cast("Any", None)  # neither the watch nor the load is needed before the rollout has begun
    Run(asked, Kubectl("x"), notes, nothing, nothing, set()).begin(deployment("old"))
    assert notes.said == ["the rollout of deploy/web begins"]
