"""Docker's copies of the images."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from typing import Any

from kubectl_lossless.doctor.manifest import Image
from kubectl_lossless.doctor.source.loaded import Loaded, Refused


def with_images(loaded: Loaded) -> Loaded:
    """Return the same, with what docker knows of the images; an image that it does not have is reported."""
    known: dict[str, Image | None] = {}
    refused = list(loaded.refused)
    workloads = []
    for workload in loaded.workloads:
        for each in workload.containers:
            if each.image and each.image not in known:
                known[each.image], said = _image(each.image)
                if said:
                    refused.append(
                        Refused(
                            said, workload.name, workload.document.file, workload.document.line(each.path)
                        )
                    )
        images = {name: image for name, image in known.items() if image is not None}
        workloads.append(replace(workload, images=images))
    return Loaded(workloads, loaded.skipped, refused)


def _image(name: str) -> tuple[Image | None, str]:
    command = ["docker", "image", "inspect", "--format", "{{json .Config}}", name]
    if not re.match(r"[A-Za-z0-9]", name):
        return None, f"has an image that is no name: {name!r}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"cannot be checked with docker: it cannot be asked about {name}: {error}"
    if done.returncode:
        return None, (
            f"cannot be checked with docker: docker does not have {name} (`docker pull` it). It "
            f"said: {done.stderr.strip()}"
        )
    config: dict[str, Any] = json.loads(done.stdout)
    variables = dict(entry.split("=", 1) for entry in config.get("Env") or () if "=" in entry)
    return Image(config.get("Entrypoint") or (), config.get("Cmd") or (), variables), ""
