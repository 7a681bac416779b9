"""Two instances behind one port, one of which replaces the other, as in a rolling update."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.process.delay import DelayProxy
from tests.process.service import Service

PROPAGATION = 1.5
"""Time from SIGTERM until new connections reach the successor, in seconds; less than DRAIN_MIN."""

DRAIN: Mapping[str, Any] = {
    "DRAIN_MIN": 4,
    "DRAIN_QUIET": 0.5,
    "DRAIN_MAX": 12,
    # From 3.6 s on: a client that is notified before new connections reach the successor would return to
    # the terminating instance.
    "STREAM_TELL_FIRST": 0.3,
    "STREAM_TELL_LAST": 0.5,
}
STOP_AT_ONCE: Mapping[str, Any] = {"DRAIN": "off", "GRACEFUL_TIMEOUT": 1}


@dataclass
class Takeover:
    """An instance of v5, its successor of v6, and a proxy whose port leads to the first of them."""

    leaving: Service
    successor: Service
    proxy: DelayProxy

    @property
    def port(self) -> int:
        """Port that clients connect to."""
        return self.proxy.port

    def hand_over(self) -> None:
        """Terminate the old instance and send new connections to the successor; return after the exit."""
        self.leaving.signal(signal.SIGTERM)
        time.sleep(PROPAGATION)
        self.proxy.target = self.successor.port
        self.leaving.wait(40)


@contextmanager
def two_instances(**settings: Any) -> Iterator[Takeover]:
    """Start both instances; yield them when both are ready."""
    with (
        Service(APP_VERSION="v5", **settings) as leaving,
        Service(APP_VERSION="v6", **settings) as successor,
        DelayProxy(leaving.ready().port, 0.0) as proxy,
    ):
        successor.ready()
        yield Takeover(leaving, successor, proxy)
