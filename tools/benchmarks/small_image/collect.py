"""Copy the parts of the image that the service uses into /out: the content of an image from scratch.

Run in the image itself, by the Dockerfile beside it. The result has no shell, no package manager and no
coreutils.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

OUT = Path("/out")
UNUSED = {"ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo", "unittest"}
"""Packages of the standard library that the service does not import."""

LIBRARY = Path(sysconfig.get_path("stdlib"))
PYTHON = Path(sys.executable).resolve()
TINI = Path(shutil.which("tini") or "/usr/bin/tini")


def copy(path: Path) -> None:
    """Copy a file with the links that lead to it, or a folder with the targets of its links."""
    target = OUT / path.relative_to("/")
    if os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        copy(Path(os.path.abspath(path.parent / path.readlink())))  # noqa: PTH100 - resolve() follows all links
    elif path.is_dir():
        target.mkdir()
        for each in path.iterdir():
            copy(each)
    else:
        shutil.copy2(path, target)


def libraries() -> Iterator[Path]:
    """Yield the shared libraries of Python, of its extension modules and of tini, the loader too."""
    modules = [*(LIBRARY / "lib-dynload").glob("*.so"), *Path("/venv").rglob("*.so*")]
    for each in (PYTHON, TINI, *modules):
        command = ["ldd", str(each)]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - no shell
        for word in listed.split():
            if word.startswith("/"):
                path = Path(word)
                # /lib and /lib64 are links to folders in /usr.
                yield path.parent.resolve() / path.name


def main() -> None:
    """Fill /out."""
    for each in LIBRARY.iterdir():
        if each.name not in UNUSED:
            copy(each)
    configuration = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/certs/ca-certificates.crt")
    wanted = [PYTHON, TINI, Path("/venv"), Path("/srv"), *Path("/usr/local/bin").glob("python*")]
    for each in [*wanted, *map(Path, configuration), *libraries()]:
        if each.exists():
            copy(each)
    for name in ("lib", "lib64", "bin"):
        (OUT / "usr" / name).mkdir(parents=True, exist_ok=True)
        (OUT / name).symlink_to(f"usr/{name}")
    (OUT / "tmp").mkdir()
    (OUT / "tmp").chmod(0o1777)


if __name__ == "__main__":
    main()
