"""One `kubectl get --watch`, followed until it is stopped."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object, follow, unpacked

RECONNECT_AFTER = 0.5
"""Seconds after which a watch that the API server ended begins again."""

Take = Callable[[str, Object], None]
"""Function that takes the type of an event, such as "MODIFIED", and its object."""


@dataclass(frozen=True)
class Stream:
    """Objects to follow."""

    name: str
    """Their resource."""
    arguments: list[str]
    """Those of `kubectl get`."""
    take: Take
    list_again: Callable[[], None] | None = None
    """Lists the objects whenever the watch begins again, which reports none that was deleted in between."""
    begun: Callable[[], None] = lambda: None
    """Called each time that the watch has reported the objects that are there."""


class Follower(threading.Thread):
    """Thread that follows one stream. When the API server ends the watch, it lists again and continues."""

    def __init__(self, kubectl: Kubectl, namespace: str, stream: Stream) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.unseen = ""
        """kubectl's message where the watch failed and nothing lists its objects again."""
        self.late: float | None = None
        """Seconds by which a change was seen late at most, from the start of a list to the end of the next,
        where the objects may be listed and not watched; else None."""
        self.trouble: tuple[float, str] | None = None
        """Since when (monotonic) the objects can no longer be queried, and kubectl's message."""
        self._kubectl = kubectl
        self._command = ["get", *stream.arguments, "-n", namespace]
        self._process: subprocess.Popen[str] | None = None
        self._listed = 0.0
        self._ending = False

    def run(self) -> None:
        """Follow until `stop` is called."""
        self._listed = time.monotonic()
        while not self._ending:
            status, said = self._watch()
            if self._ending:
                return
            if status and self.stream.list_again is None:
                self.unseen = said.strip()
            elif status and "forbidden" in said.lower():
                self.late = self.late or 0.0
            time.sleep(RECONNECT_AFTER)
            if self.stream.list_again is not None:
                self._list(self.stream.list_again)

    def stop(self) -> None:
        """End the watch."""
        self._ending = True
        if self._process is not None:
            self._process.terminate()

    def _watch(self) -> tuple[int, str]:
        """Run one watch until it ends; return kubectl's exit status and message."""
        process = self._process = self._kubectl.start(
            *self._command, "--watch", "--output-watch-events", "-o", "json"
        )
        if self._ending:
            process.terminate()  # `stop` may have come before it was there to end
        assert process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
        for number, event in enumerate(follow(process.stdout)):
            self.trouble = None
            if event["type"] in ("ERROR", "BOOKMARK"):
                continue  # no object of the stream: the watch ends, and begins again
            # kubectl writes the first objects as lists.
            for item in unpacked(event["object"]):
                self.stream.take(event["type"], item)
            if number == 0:
                self.stream.begun()
        _, said = process.communicate()
        return process.returncode, said

    def _list(self, list_again: Callable[[], None]) -> None:
        before, self._listed = self._listed, time.monotonic()
        try:
            list_again()
        except KubectlError as error:
            # The API server may be away for a moment: the next turn tries again.
            self.trouble = self.trouble or (time.monotonic(), error.short)
            return
        self.trouble = None
        if self.late is not None:
            self.late = max(self.late, time.monotonic() - before)
