"""The versions of Python that the project supports, from the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

PYTHONS = tuple(re.findall(r"^VERSIONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
"""Versions that `make test-pythons` tests, the oldest first."""
