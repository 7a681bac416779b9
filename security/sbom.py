"""The software bill of materials of an image, CycloneDX 1.6: `make sbom IMAGE=...` writes sbom.json.

It lists what is really in the image: the Python packages by their own metadata and Debian's packages by
dpkg's status, both read from the image's files, whatever requirements.txt says. Needs docker; the image is
not run.
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DPKG = "var/lib/dpkg/status"
DIST_INFO = re.compile(r".*/[^/]+\.dist-info/METADATA")


class SbomError(Exception):
    """The image cannot be read. The message is a sentence for people."""


@dataclass(frozen=True, order=True)
class Package:
    """One package in the image."""

    kind: str
    """As in its package URL: "pypi" or "deb"."""
    name: str
    version: str
    license: str = ""


def docker(*arguments: str) -> str:
    """Run docker; returns what it prints. Raises SbomError."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607 - no shell
    except FileNotFoundError:
        raise SbomError("docker is not installed.") from None
    if done.returncode:
        raise SbomError(f"`docker {' '.join(arguments)}` failed. It said: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def files(image: str) -> Iterator[Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]]:
    """Every regular file of an image: its path, and the archive to read it from. Raises SbomError."""
    container = docker("create", image)
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:  # noqa: S603, S607 - no shell
            assert export.stdout is not None  # noqa: S101 - asked for
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                yield ((each.name, archive, each) for each in archive if each.isfile())
    finally:
        docker("rm", container)


def text(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    """One file of the archive as text."""
    content = archive.extractfile(entry)
    return content.read().decode("utf-8", "replace") if content else ""


def packages(image: str) -> list[Package]:
    """Everything that is installed in an image. Raises SbomError."""
    found: set[Package] = set()
    with files(image) as entries:
        for path, archive, entry in entries:
            if DIST_INFO.fullmatch(path):
                found.add(_python(text(archive, entry)))
            elif path == DPKG:
                found.update(_debian(text(archive, entry)))
    if not found:
        raise SbomError(f"{image} holds no package that Debian or Python know of.")
    return sorted(found)


def _python(metadata: str) -> Package:
    fields = email.message_from_string(metadata)
    license_ = fields["License-Expression"] or fields["License"] or ""
    return Package("pypi", fields["Name"], fields["Version"], license_ if len(license_) < 80 else "")


def _debian(status: str) -> Iterator[Package]:
    for paragraph in status.split("\n\n"):
        fields = email.message_from_string(paragraph)
        if (fields["Status"] or "").endswith(" installed"):
            yield Package("deb", fields["Package"], fields["Version"])


def document(image: str, found: list[Package]) -> str:
    """The bill of materials as CycloneDX JSON, checked against its schema."""
    # Imported here, because only this needs them: the tests of the rest run without.
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    bom, licenses = Bom(), LicenseFactory()
    bom.metadata.component = Component(
        name=image.rpartition("/")[2].split(":")[0],
        version=docker("image", "inspect", "--format", "{{.Id}}", image),
        type=ComponentType.CONTAINER,
    )
    for each in found:
        name = each.name.lower().replace("_", "-") if each.kind == "pypi" else each.name
        url = PackageURL(each.kind, "debian" if each.kind == "deb" else None, name, each.version)
        bom.components.add(
            Component(
                name=each.name,
                version=each.version,
                purl=url,
                bom_ref=str(url),
                licenses=[licenses.make_from_string(each.license)] if each.license else (),
            )
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    made: str = JsonV1Dot6(bom).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(made)
    if wrong:
        raise SbomError(f"What was made is no CycloneDX: {wrong}")
    return made


def main(image: str, output: str) -> int:
    """Write the bill; returns the exit status: 0, or 2 where the image cannot be read."""
    try:
        found = packages(image)
        Path(output).write_text(document(image, found) + "\n")
    except SbomError as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 2
    python, debian = (sum(each.kind == kind for each in found) for kind in ("pypi", "deb"))
    print(f"sbom: {output}: {python} Python and {debian} Debian packages of {image}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
