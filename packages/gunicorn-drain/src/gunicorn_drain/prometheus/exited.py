"""Files of exited workers, merged so that their number does not grow with each exit.

prometheus_client keeps the files of every process for ever, and each scrape reads all of them.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

Value = tuple[float, float]
"""A value and its time: prometheus_client sets the time for gauges of mode mostrecent only."""

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
    """Merged counts of exited workers. Create the object before the fork: workers read during a merge."""

    def __init__(self) -> None:
        self._merges = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the workers
        self._kept: deque[Path] = deque()

    @property
    def merges(self) -> int:
        """Number of beginnings and ends of merges: odd during a merge."""
        return int.from_bytes(self._merges[:8], "little")

    def merge(self, path: str, pid: int, master: int) -> None:
        """Add the files of the exited worker `pid` to those of all exited workers of `master`.

        OSError if there is no space: the worker's files stay, and count as before.
        """
        self._change_merges()
        try:
            for kind, combine in COMBINE.items():
                source = Path(path, f"{kind}_{pid}.db")
                # The master's own file has its number without the zero.
                target = Path(path, f"{kind}_0{master}.db")
                if source.exists():
                    _merge(source, target, combine)
            self._keep(Path(path, f"gauge_all_{pid}.db"))
        finally:
            self._change_merges()

    def _keep(self, gauges: Path) -> None:
        if gauges.exists():
            self._kept.append(gauges)
        while len(self._kept) > KEPT:
            self._kept.popleft().unlink(missing_ok=True)

    def _change_merges(self) -> None:
        self._merges[:8] = (self.merges + 1).to_bytes(8, "little")


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
