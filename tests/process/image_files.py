"""The files of an image, read without running it."""

from __future__ import annotations

import email
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

DIST_INFO = re.compile(r".*/[^/]+\.dist-info/METADATA")


def docker(*arguments: str) -> str:
    """Run docker; return its output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout.strip()


@contextmanager
def files(image: str) -> Iterator[Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]]:
    """Yield every regular file of an image: its path, and the archive to read it from."""
    container = docker("create", image)
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                yield ((each.name, archive, each) for each in archive if each.isfile())
    finally:
        docker("rm", container)


def text(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    """Return one file of the archive as text."""
    content = archive.extractfile(entry)
    return content.read().decode("utf-8", "replace") if content else ""


def python_packages(image: str) -> set[tuple[str, str]]:
    """Return name and version of the Python packages that are installed in an image."""
    with files(image) as entries:
        found = [
            email.message_from_string(text(archive, entry))
            for path, archive, entry in entries
            if DIST_INFO.fullmatch(path)
        ]
    return {(re.sub("[-_.]+", "-", each["Name"]).lower(), each["Version"]) for each in found}
