"""Files of exited workers, merged so that their number does not grow with each exit.

prometheus_client keeps the files of every process for ever, and each scrape reads all of them. During a
merge a worker's counts are in two files, so each master counts the beginnings and ends of its merges in a
file of the directory. A scrape reads again if it met a merge of any master: after SIGUSR2 there are two.
"""

from __future__ import annotations

import os
import re
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Value = tuple[float, float]
"""A value and its time: prometheus_client sets the time for gauges of mode mostrecent only."""

MERGES = re.compile(r"merges_[0-9]+\.count")
"""Names of the files in which masters count the beginnings and ends of their merges."""

KEPT = 10
"""Maximum number of exited workers whose gauges of mode `all` are kept: each is a separate series."""


def _sum(one: Value, other: Value) -> Value:
    return one[0] + other[0], 0.0


def _latest(one: Value, other: Value) -> Value:
    return max(one, other, key=lambda value: value[1])


COMBINE: dict[str, Callable[[Value, Value], Value]] = {
    "counter": _sum,
    "histogram": _sum,
    "summary": _sum,
    "gauge_sum": _sum,
    "gauge_max": max,
    "gauge_min": min,
    "gauge_mostrecent": _latest,
}
"""Functions that combine two values, by kind of file. Gauges of live processes end with their process."""


class ExitedWorkers:
    """Merged counts of exited workers of one master."""

    def __init__(self) -> None:
        self._kept: deque[Path] = deque()

    def merge(self, path: str, pid: int, master: int) -> None:
        """Add the files of the exited worker `pid` to those of all exited workers of `master`.

        OSError if there is no space: the worker's files stay, and count as before.
        """
        with counted(Path(path), master):
            for kind, combine in COMBINE.items():
                source = Path(path, f"{kind}_{pid}.db")
                # The master's own file has its number without the zero.
                target = Path(path, f"{kind}_0{master}.db")
                if source.exists():
                    _merge(source, target, combine)
            self._keep(Path(path, f"gauge_all_{pid}.db"))

    def _keep(self, gauges: Path) -> None:
        if gauges.exists():
            self._kept.append(gauges)
        while len(self._kept) > KEPT:
            self._kept.popleft().unlink(missing_ok=True)


def merges(path: Path) -> dict[str, int]:
    """Return the number of beginnings and ends of merges in a directory, by master: odd during a merge."""
    return {
        each.name: int.from_bytes(each.read_bytes(), "little")
        for each in path.iterdir()
        if MERGES.fullmatch(each.name)
    }


@contextmanager
def counted(path: Path, master: int) -> Iterator[None]:
    """Count the beginning and the end of a merge of `master` in the directory `path`."""
    descriptor = os.open(path / f"merges_{master}.count", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # Odd already if a master with the same number was killed during a merge.
        begin = int.from_bytes(os.pread(descriptor, 8, 0), "little") + 1 | 1
        os.pwrite(descriptor, begin.to_bytes(8, "little"), 0)
        try:
            yield
        finally:
            os.pwrite(descriptor, (begin + 1).to_bytes(8, "little"), 0)
    finally:
        os.close(descriptor)


def _merge(source: Path, target: Path, combine: Callable[[Value, Value], Value]) -> None:
    merged = dict(_read(target)) if target.exists() else {}
    for key, value in _read(source):
        merged[key] = combine(merged[key], value) if key in merged else value
    _write(target, merged)
    source.unlink()


def _read(path: Path) -> Iterator[tuple[str, Value]]:
    from prometheus_client.mmap_dict import MmapedDict

    if path.stat().st_size:  # else its worker was killed while it created the file
        for key, value, at, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call] # it has no types
            yield key, (value, at)


def _write(path: Path, values: dict[str, Value]) -> None:
    """Write prometheus_client's format: the number of bytes used, then each key, padded, with its value."""
    # Not by MmapedDict: where the file system is full, writing to mapped memory would end the master.
    entries = [struct.pack("i4x", 0)]
    for key, value in values.items():
        name = key.encode()
        padded = name + b" " * (8 - (len(name) + 4) % 8)
        entries.append(struct.pack(f"i{len(padded)}sdd", len(name), padded, *value))
    content = b"".join(entries)
    content = struct.pack("i", len(content)) + content[4:]
    with path.open("r+b" if path.exists() else "x+b") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(file.fileno(), 0, len(content))
        except OSError:
            if not os.fstat(file.fileno()).st_size:
                path.unlink()
            raise
        file.write(content)
