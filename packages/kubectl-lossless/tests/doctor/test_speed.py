"""Large inputs are read in little time."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from doctor.helpers import base, dump

LIMIT = 2.0
"""Seconds of the processor for 500 documents, with the start of Python: other tests may run beside this."""


def processor_time() -> float:
    """Return what the processes that this one has waited for have used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_500_documents_take_less_than_2_seconds(tmp_path: Path) -> None:
    for number in range(125):
        objects = base()
        objects.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "demo"}}
        )
        for each in objects:
            each["metadata"]["name"] += f"-{number}"
        labels = {"app": f"web-{number}"}
        objects[0]["spec"]["selector"]["matchLabels"] = labels
        objects[0]["spec"]["template"]["metadata"]["labels"] = labels
        objects[1]["spec"]["selector"] = objects[2]["spec"]["selector"]["matchLabels"] = labels
        (tmp_path / f"{number}.yaml").write_text(dump(objects))
    command = [sys.executable, "-m", "kubectl_lossless", "doctor", "-f", str(tmp_path)]
    took = []
    for _ in range(3):
        began = processor_time()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        took.append(processor_time() - began)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("1 Service, 1 PodDisruptionBudget") == 125
    print(f"{min(took):.2f} s")
    assert min(took) < LIMIT, took
