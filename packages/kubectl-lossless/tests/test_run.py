"""The beginning of a rollout."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure.load import Local, Target
from kubectl_lossless.measure.load.clients import Plan
from kubectl_lossless.measure.run import CHECKS, Action, Console, Measurement, Run, check_targets
from kubectl_lossless.measure.workload import Reference


class Notes(Console):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def deployment(version: str) -> dict[str, Any]:
    template = {"metadata": {"annotations": {"restarted": version}}}
    return {"metadata": {"name": "web", "generation": 2}, "spec": {"template": template}}


def test_begin_of_a_rollout_does_not_repeat_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nif 'get' in sys.argv: print({json.dumps(deployment('new'))!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    reference, action, notes = Reference("deployment", "web"), Action(restart=True), Notes()
    asked = Measurement(reference, "demo", Plan((), ()), action)
    nothing = cast("Any", None)  # neither the watch nor the load is needed before the rollout has begun
    Run(asked, Kubectl("x"), notes, nothing, nothing, set()).begin(deployment("old"))
    assert notes.said == ["the rollout of deploy/web begins"]


def test_url_of_several_clients_is_checked_as_often_as_that_of_one() -> None:
    """A check of a slow URL takes as long as its response, which adds up for --slow-url given ten times."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            usual, slow = (
                Target.of(f"http://127.0.0.1:{server.server_port}{path}", None) for path in ("/", "/slow")
            )
            check_targets(Plan((usual, *[slow] * 10), ()), Local())
        finally:
            server.shutdown()
            thread.join()
    assert requested == ["/"] * CHECKS + ["/slow"] * CHECKS
