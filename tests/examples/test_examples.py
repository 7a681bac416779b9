"""The clients in docs/examples/, each during the replacement of one instance by another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import psutil
import pytest

from tests.process.delay import DelayProxy
from tests.process.service import ROOT, Service
from tests.process.takeover import DRAIN, STOP_AT_ONCE, two_instances
from tests.waiting import wait_until


class Example:
    """An example in a separate process."""

    def __init__(self, name: str, port: int, *arguments: str) -> None:
        url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "docs" / "examples" / name), url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def connected(self) -> bool:
        """Return True if the example has an established connection."""
        connections = psutil.Process(self.process.pid).net_connections()
        return any(each.status == psutil.CONN_ESTABLISHED for each in connections)

    def ticks(self) -> Iterator[dict[str, Any]]:
        """Yield the ticks that the example prints, as soon as they are printed."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def end(self) -> str:
        """Interrupt the example as Ctrl-C does; return its output on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=20)
        return said


@pytest.mark.long
@pytest.mark.parametrize("name", ["sse_client.py", "websocket_client.py"])
@pytest.mark.parametrize("settings", [DRAIN, STOP_AT_ONCE], ids=["drain", "stop at once"])
def test_stream_continues_without_a_gap_or_a_repeat(name: str, settings: Mapping[str, Any]) -> None:
    with two_instances(**settings) as takeover, Example(name, takeover.port) as example:
        ticks = example.ticks()
        seen = [next(ticks), next(ticks)]
        takeover.hand_over()
        for tick in ticks:
            seen.append(tick)
            if len({each["sequence"] for each in seen if each["version"] == "v6"}) >= 3:
                break
        said = example.end()
    sequences = [tick["sequence"] for tick in seen]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), said
    assert [tick["version"] for tick in seen] == sorted(tick["version"] for tick in seen)
    if settings is DRAIN:
        assert said.count("again in") == 1, said
    else:
        assert "again in" in said


@pytest.mark.parametrize("name", ["sse_client.py", "websocket_client.py"])
def test_example_waits_for_an_absent_server(name: str) -> None:
    with (
        Service(APP_VERSION="v5") as service,
        DelayProxy(1, 0.0) as proxy,  # a port without a listener
        Example(name, proxy.port) as example,
    ):
        assert example.process.stderr is not None
        assert "again in" in example.process.stderr.readline()
        proxy.target = service.ready().port
        assert next(example.ticks())["version"] == "v5"


@pytest.mark.long
@pytest.mark.parametrize("name", ["sse_client.py", "websocket_client.py"])
def test_client_that_reconnects_after_stream_replay_counts_the_lost_ticks(name: str) -> None:
    settings: dict[str, Any] = {"STREAM_REPLAY": 2, "DRAIN": "off", "GRACEFUL_TIMEOUT": 0}
    with (
        Service(**settings) as before,
        Service(**settings) as after,
        DelayProxy(before.ready().port, 0.0) as proxy,
        Example(name, proxy.port) as example,
    ):
        ticks = example.ticks()
        last = next(ticks)["sequence"]
        proxy.target = 1  # a port without a listener
        before.signal(signal.SIGQUIT)
        before.wait()
        ended = time.time()
        wait_until(lambda: time.time() > ended + 8, "longer than STREAM_REPLAY")
        proxy.target = after.ready().port
        for tick in ticks:
            first = tick["sequence"]
            if first > last + 1:  # the ticks before were sent already
                break
            last = first
        said = example.end()
    assert f"{first - last - 1} missed so far" in said


@pytest.mark.long
@pytest.mark.parametrize("settings", [DRAIN, STOP_AT_ONCE], ids=["drain", "stop at once"])
def test_requests_are_repeated_if_a_repeat_is_safe(settings: Mapping[str, Any]) -> None:
    """Replace an instance: with the drain no request needs a repeat, without it repeats cover the gap."""
    with (
        two_instances(**settings) as takeover,
        Example("requests_keepalive.py", takeover.port, "--seconds", "12") as example,
    ):
        wait_until(example.connected, "a first connection")
        takeover.hand_over()
        out, said = example.process.communicate(timeout=60)
    seen = json.loads(out)
    assert seen["failures"] == 0, said
    assert set(seen["responses"]) == {"v5", "v6"}
