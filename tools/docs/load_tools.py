"""Load generators during a rolling replacement: the table of docs/load-tools.md.

`python -m tools.docs load-tools` runs each generator that is installed, while one instance of the service
terminates and another takes over: without the drain and with it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.process.delay import DelayProxy
from tests.process.service import Service
from tests.process.takeover import DRAIN, STOP_AT_ONCE, Takeover
from tools.docs.load_counts import K6_SCRIPT, TOOLS, Count

BEFORE, AFTER = 3.0, 9.0
"""Durations of load before SIGTERM, and from SIGTERM on, in seconds; the drain takes about 5 s."""


def installed() -> list[str]:
    """Return the names of the generators that this machine has."""
    return [name for name, tool in TOOLS.items() if shutil.which(tool.program)]


def run(name: str, url: str, replace: Callable[[], object]) -> Count:
    """Run a generator against `url`, call `replace` after BEFORE seconds, and return the reported counts.

    Raises ValueError for a report without a number of requests.
    """
    tool = TOOLS[name]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "script.js").write_text(K6_SCRIPT)
        process = subprocess.Popen(  # noqa: S603 - the generators of TOOLS
            tool.command(round(BEFORE + AFTER), url),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            time.sleep(BEFORE)
            replace()
            text, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    found = tool.read(text)
    if not found.requests:
        raise ValueError(f"{name} reported no requests: {text}")
    return found


def replaced(name: str, settings: Mapping[str, Any]) -> Count:
    """Run a generator while v9 terminates and v10 takes over: their responses differ by a letter."""
    with (
        Service(APP_VERSION="v9", **settings) as leaving,
        Service(APP_VERSION="v10", **settings) as successor,
        DelayProxy(leaving.ready().port, 0.0) as proxy,
    ):
        successor.ready()
        pair = Takeover(leaving, successor, proxy)
        return run(name, f"http://127.0.0.1:{pair.port}/api", pair.hand_over)


def measure(path: Path, names: Sequence[str] = ()) -> None:
    """Run the generators without and with the drain, and write the counts as JSON."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in names or installed():
        for stop, settings in (("off", STOP_AT_ONCE), ("on", DRAIN)):
            count = replaced(name, settings)
            found.setdefault(name, {})[stop] = asdict(count)
            print(f"{name}, drain {stop}: {count}", flush=True)
    path.write_text(json.dumps({name: found[name] for name in TOOLS if name in found}, indent=1) + "\n")
