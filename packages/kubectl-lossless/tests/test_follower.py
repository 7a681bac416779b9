"""A watch of kubectl that the API server ends, and a cluster that is away for a while."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object
from kubectl_lossless.measure.follower import Follower, Stream
from tests.waiting import wait_until

POD = {"type": "ADDED", "object": {"kind": "Pod", "metadata": {"name": "web-a"}}}

KUBECTL = f"""#!{sys.executable}
import pathlib, sys, time
here = pathlib.Path(__file__).parent
if (here / "error").exists():
    sys.exit((here / "error").read_text())
if "--watch" in sys.argv:
    print({json.dumps(POD)!r}, flush=True)
    time.sleep(60)
"""
"""A kubectl of a cluster with one pod. While the file "error" is there, it fails with the message in that."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_trouble_ends_with_the_first_event_of_a_watch(folder: Path) -> None:
    """The API server may come back after the list that failed, and before the watch that begins then."""
    (folder / "error").write_text("The connection to the server was refused")
    taken: list[str] = []

    def take(event: str, found: Object) -> None:
        taken.append(found["metadata"]["name"])

    def list_again() -> None:
        raise KubectlError("kubectl get pods", "The connection to the server was refused")

    follower = Follower(Kubectl("x"), "n", Stream("pods", ["pods"], take, list_again))
    follower.start()
    try:
        wait_until(lambda: follower.trouble is not None, "trouble")
        (folder / "error").unlink()
        wait_until(lambda: follower.trouble is None, "the end of the trouble")
        assert taken == ["web-a"]
    finally:
        follower.stop()
        follower.join(10)
    assert not follower.is_alive()


def test_objects_that_may_not_be_watched_are_listed_again(folder: Path) -> None:
    (folder / "error").write_text('pods is forbidden: User "x" cannot watch resource "pods"')
    lists: list[float] = []
    stream = Stream("pods", ["pods"], lambda _, __: None, lambda: lists.append(time.monotonic()))
    follower = Follower(Kubectl("x"), "n", stream)
    follower.start()
    try:
        wait_until(lambda: len(lists) > 2, "three lists")
    finally:
        follower.stop()
        follower.join(10)
    assert follower.trouble is None
    assert follower.late is not None
    assert follower.late > lists[1] - lists[0]
    assert not follower.unseen


def test_objects_that_nothing_lists_again_are_unseen(folder: Path) -> None:
    (folder / "error").write_text('events is forbidden: User "x" cannot watch resource "events"')
    follower = Follower(Kubectl("x"), "n", Stream("events", ["events"], lambda _, __: None))
    follower.start()
    try:
        wait_until(lambda: follower.unseen, "the message")
    finally:
        follower.stop()
        follower.join(10)
    assert "events is forbidden" in follower.unseen
