"""The doctor's findings in the workload that is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure.evidence import Advice
from kubectl_lossless.measure.workload import Reference

TIMEOUT = 90.0
"""Timeout of the doctor, in seconds."""


def diagnose(kubectl: Kubectl, reference: Reference, namespace: str) -> tuple[list[Advice], str | None]:
    """Return the doctor's findings, and why there are none where it could not be asked.

    The doctor runs as a process: an object that it cannot read must not end a measurement.
    """
    command = [sys.executable, "-m", "kubectl_lossless", "doctor", f"{reference.kind}/{reference.name}"]
    command += ["-n", namespace, "-o", "json", *(["--context", kubectl.context] if kubectl.context else [])]
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter, no shell
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=dict(os.environ)
        )
        workloads = json.loads(done.stdout)["workloads"]
        findings = [advice_of(each) for workload in workloads for each in workload["findings"]]
    except subprocess.TimeoutExpired:
        return [], f"The doctor did not end within {TIMEOUT:.0f} s."
    except (ValueError, KeyError):
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return [], f"The doctor could not check {reference}: {said}"
    return findings, None


def advice_of(finding: dict[str, Any]) -> Advice:
    """Return a finding as the verdict has it: its changes as lines, else its advice."""
    changes = [
        f"{each['path']}: "
        f"{'remove it' if each.get('remove') else json.dumps(each.get('value'), ensure_ascii=False)}"
        for each in finding.get("changes") or []
    ]
    return Advice(
        str(finding["check"]),
        str(finding.get("what", "")),
        "; ".join(changes) or str(finding.get("advice", "")),
    )
