"""Known vulnerabilities of the pinned packages, by pip-audit: `make audit`.

pip-audit leaves out, with status 0, a package that its source does not answer for; here that is said, and
another source is tried. Exit status: 0 none known, or it could not be found out (which is said), 1 some.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

SERVICES = ("pypi", "osv")
"""pip-audit's sources, in the order in which they are asked."""


@dataclass(frozen=True)
class Audit:
    """What one source says."""

    audited: int
    """Packages that it knows."""
    vulnerable: tuple[str, ...]
    """A line for each vulnerability."""
    trouble: str
    """Why it could not answer for all; empty where it did."""


def understood(output: str, errors: str) -> Audit:
    """Read what pip-audit wrote."""
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        return Audit(0, (), next((line for line in reversed(errors.splitlines()) if line.strip()), "nothing"))
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    vulnerable = tuple(
        f"{each['name']} {each['version']}: {found['id']}, fixed in "
        f"{', '.join(found['fix_versions']) or 'none'}"
        for each in packages
        for found in each.get("vulns", ())
    )
    trouble = f"{len(skipped)} of {len(packages)} not audited: {skipped[0]}" if skipped else ""
    return Audit(len(packages) - len(skipped), vulnerable, trouble)


def ask(service: str, files: list[str]) -> Audit:
    """Ask one source about the pins in these requirements files."""
    chosen = [word for file in files for word in ("-r", file)]
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "-s",
        service,
        "--disable-pip",
        "--no-deps",
        "-f",
        "json",
        *chosen,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603 - no shell
    except subprocess.TimeoutExpired:
        return Audit(0, (), "no answer within 300 s")
    return understood(done.stdout, done.stderr)


def main(files: list[str]) -> int:
    """Audit; returns the exit status."""
    for service in SERVICES:
        result = ask(service, files)
        for line in result.vulnerable:
            print(f"audit: VULNERABLE {line}")
        if result.vulnerable:
            return 1
        if not result.trouble:
            print(f"audit: {result.audited} packages, no known vulnerability (source: {service})")
            return 0
        print(f"audit: {service} does not answer for all: {result.trouble}")
    print("audit: NOT DONE: no source of vulnerability data can be reached from here")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
