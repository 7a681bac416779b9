"""Figures that the course published, from course.toml."""

import tomllib
from pathlib import Path

from kubectl_lossless.measure.report.compare import Published

PUBLISHED = Path(__file__).with_name("course.toml")


def published() -> Published:
    """Read course.toml."""
    found = tomllib.loads(PUBLISHED.read_text())
    return Published(
        found["source"],
        {(u["from"], u["to"]): (u["lost"], u["seconds"]) for u in found["update"]},
    )
