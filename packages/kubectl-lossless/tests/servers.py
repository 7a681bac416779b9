"""A server process that misbehaves on command, for the tests of the load."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubectl_lossless.measure.load import Client, Load, Plan, Target
from kubectl_lossless.measure.load.process import Place

SERVER = Path(__file__).with_name("misbehaving_server.py")


class ServerProcess:
    """One misbehaving_server.py."""

    def __init__(self, behaviour: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), behaviour],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def misbehave(self) -> None:
        self._tell("misbehave")

    def recover(self) -> None:
        self._tell("recover")

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == line + "\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


KINDS = {
    "new": Client("new", "", every=0.1),
    "busy": Client("busy", "", keep=True, every=0.1),
    "idle": Client("idle", "", keep=True, idle=(0.5, 4.0)),
}


def plan_of(url: str, clients: dict[str, int], timeout: float = 10.0) -> Plan:
    """Return a plan of these clients on a server that names its version in each response."""
    kinds = tuple((KINDS[name], number) for name, number in clients.items())
    return Plan((Target.of(url, strict=True),), kinds, timeout)


def load_on(
    url: str,
    clients: dict[str, int],
    timeout: float = 10.0,
    place: Place | None = None,
    patience: float = 30.0,
) -> Load:
    """Return the load of such a plan."""
    return Load(plan_of(url, clients, timeout), place=place, patience=patience)


Serve = Callable[[str], ServerProcess]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    servers: list[ServerProcess] = []

    def start(behaviour: str) -> ServerProcess:
        servers.append(ServerProcess(behaviour))
        return servers[-1]

    yield start
    for server in servers:
        server.end()
