"""What the doctor finds in the workload that is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure.verdict import Advice
from kubectl_lossless.measure.workload import Reference

TIMEOUT = 90.0
"""Seconds that the doctor may take."""


def diagnose(kubectl: Kubectl, reference: Reference, namespace: str) -> tuple[list[Advice], str | None]:
    """Return the doctor's findings, and why there are none where it could not be asked.

    The doctor runs as a process: what it cannot read must not end a measurement.
    """
    command = [sys.executable, "-m", "kubectl_lossless", "doctor", f"{reference.kind}/{reference.name}"]
    command += ["-n", namespace, "--json", *(["--context", kubectl.context] if kubectl.context else [])]
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter, no shell
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=dict(os.environ)
        )
        findings = [
            Advice(
                str(each["check"]),
                str(each.get("what", "")),
                str(each.get("path", "")),
                str(each.get("value", "")),
            )
            for each in found_in(json.loads(done.stdout))
        ]
    except subprocess.TimeoutExpired:
        return [], f"The doctor did not end within {TIMEOUT:.0f} s."
    except (ValueError, KeyError):
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return [], f"The doctor could not check {reference}: {said}"
    return findings, None


def found_in(document: Any) -> Iterator[dict[str, Any]]:
    """Yield every finding in the doctor's JSON, whatever it is wrapped in."""
    if isinstance(document, list):
        for each in document:
            yield from found_in(each)
    elif isinstance(document, dict):
        if "check" in document:
            yield document
        else:
            for each in document.values():
                yield from found_in(each)
