"""The shells that the tests compare with the module."""

from __future__ import annotations

from kubectl_lossless.doctor.shell.tokens import Shell

SHELLS = {Shell.DASH: "dash", Shell.BASH: "bash", Shell.BUSYBOX: "busybox"}
"""Their programs."""
