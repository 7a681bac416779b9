"""Effects of preStop hooks."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_lossless.doctor.prestop import FOREVER, Effect, Place, judge
from kubectl_lossless.doctor.server.start import Start
from kubectl_lossless.doctor.shell.tokens import Shell


def run(*words: str) -> dict[str, Any]:
    return {"exec": {"command": list(words)}}


@pytest.mark.parametrize(
    ("hook", "effect", "seconds"),
    [
        ({"sleep": {"seconds": 15}}, Effect.WAITS, 15),
        ({"sleep": {"seconds": 0}}, Effect.RETURNS, 0),
        (run("sleep", "15"), Effect.WAITS, 15),
        (run("/bin/sleep", "1.5m"), Effect.WAITS, 90),
        (run("sleep", "1h"), Effect.WAITS, 3600),
        (run("sleep", "infinity"), Effect.WAITS, FOREVER),
        (run("sh", "-c", "sleep 5 && curl -s localhost/x; sleep 20"), Effect.WAITS, 25),
        (run("python", "-c", "import time; time.sleep(20)"), Effect.WAITS, 20),
        (run("sh", "-c", "sleep 10; nginx -s quit"), Effect.WAITS, 10),
        (run("sh", "-c", "sleep $WAIT"), Effect.UNKNOWN, None),
        (run("/srv/leave"), Effect.UNKNOWN, None),
        (run("sh", "-c", "while busy; do sleep 1; done"), Effect.UNKNOWN, None),
        ({"httpGet": {"path": "/drain", "port": 80}}, Effect.UNKNOWN, None),
        ({"httpGet": {"path": "/shutdown", "port": 80}}, Effect.STOPS, 0),
        (run("nginx", "-s", "quit"), Effect.STOPS, 0),
        (run("sh", "-c", "kill -TERM 1"), Effect.STOPS, 0),
        (run("sh", "-c", "kill -QUIT $(cat /run/x.pid)"), Effect.STOPS, 0),
        (run("sh", "-c", "pgrep gunicorn | xargs -r kill"), Effect.STOPS, 0),
        (run("/bin/true"), Effect.RETURNS, 0),
        (run("sh", "-c", "exec sleep 15"), Effect.WAITS, 15),
        (run("sh", "-c", "sleep 15 & wait"), Effect.WAITS, 15),
        (run("busybox", "sleep", "15"), Effect.WAITS, 15),
        (run("busybox", "sh", "-c", "sleep 15"), Effect.WAITS, 15),
        (run("timeout", "-k", "1", "20", "sleep", "15"), Effect.WAITS, 15),
        (run("timeout", "2s", "sleep", "15"), Effect.WAITS, 2),
        (run("timeout", "2s", "/srv/leave"), Effect.UNKNOWN, None),
        (run("timeout"), Effect.UNKNOWN, None),
        (run("sh", "-c", "sleep 15 &"), Effect.RETURNS, 0),
        (run("sh", "-c", "exit 0; sleep 15"), Effect.RETURNS, 0),
        (run("sh", "-c", "false && sleep 15"), Effect.RETURNS, 0),
        (run("sh", "-c", "true || sleep 15"), Effect.RETURNS, 0),
        (run("sh", "-c", "if false; then sleep 15; fi"), Effect.RETURNS, 0),
        (run("sh", "-c", "exec sleep 2; sleep 15"), Effect.WAITS, 2),
        (run("sh", "-c", "[ -f /x ] || exit 0; sleep 15"), Effect.WAITS, 15),
        (run("sh", "-c", "sleep 15; exit 0"), Effect.WAITS, 15),
        (run("sh", "-c", "sleep 2 || sleep 15"), Effect.WAITS, 2),
        (run("sh", "-c", "sleep 15 || true"), Effect.WAITS, 15),
        (run("sh", "-c", "sleep 15 &> /dev/null"), Effect.RETURNS, 0),
        (run("bash", "-c", "sleep 15 &> /dev/null"), Effect.WAITS, 15),
        # As GNU coreutils reads a length; BusyBox: below.
        (run("sleep", "0x10"), Effect.WAITS, 16),
        (run("sleep", "0x1d"), Effect.WAITS, 29),
        (run("sleep", "0xAs"), Effect.WAITS, 10),
        (run("sleep", "0x.8p5"), Effect.WAITS, 16),
        (run("sleep", "+15"), Effect.WAITS, 15),
        (run("sleep", "150e-1"), Effect.WAITS, 15),
        (run("sleep", "Infinity"), Effect.WAITS, FOREVER),
        (run("sleep", "--", "15"), Effect.WAITS, 15),
        (run("sleep", "-15"), Effect.FAILS, 0),
        (run("sleep", "0x"), Effect.FAILS, 0),
        (run("sleep", "infinite"), Effect.FAILS, 0),
        (run("sleep", "15sec"), Effect.FAILS, 0),
        (run("busybox", "sleep", "0x10"), Effect.FAILS, 0),
        (run("sleep 15"), Effect.FAILS, 0),
        (run("sh", "-c", "'sleep 15'"), Effect.FAILS, 0),
        (run("sh", "-c", "sleep 1.2.3"), Effect.FAILS, 0),
        (run("sh", "-c", "sleep '15"), Effect.FAILS, 0),
    ],
)
def test_hook_is_judged_by_how_long_the_server_serves_on(
    hook: dict[str, Any], effect: Effect, seconds: float | None
) -> None:
    found = judge(hook)
    assert found is not None
    assert (found.effect, found.wait) == (effect, seconds)
    assert found.reason


@pytest.mark.parametrize("hook", [None, {}])
def test_no_hook_is_none(hook: dict[str, Any] | None) -> None:
    assert judge(hook) is None


@pytest.mark.parametrize(("variable", "effect", "seconds"), [("10", Effect.WAITS, 10), ("", Effect.STOPS, 0)])
def test_signal_of_gitlab_begins_its_blackout(variable: str, effect: Effect, seconds: float) -> None:
    place = Place(environment={"SHUTDOWN_BLACKOUT_SECONDS": variable})
    found = judge(run("/bin/bash", "-c", "pkill -SIGINT -o ruby"), place)
    assert found is not None
    assert (found.effect, found.wait) == (effect, seconds)


def test_hook_of_an_alpine_image_runs_in_busybox() -> None:
    hook = run("sh", "-c", "sleep 15 &> /dev/null")
    found = judge(hook, Place(start=Start((), sh=Shell.BUSYBOX)))
    assert found is not None
    assert (found.effect, found.wait) == (Effect.WAITS, 15)


def test_hook_that_is_a_file_of_another_language_is_unknown() -> None:
    found = judge(
        run("/leave"), Place(start=Start((), files={"/leave": "#!/usr/bin/env python3\nprint()\n"}))
    )
    assert found is not None
    assert found.effect is Effect.UNKNOWN


@pytest.mark.parametrize(
    ("length", "seconds"),
    [("15", 15), ("15.", 15), (".5m", 30), ("1h", 3600), ("infinity", FOREVER), ("infinite", FOREVER)],
)
def test_busybox_reads_digits_a_point_and_a_unit(length: str, seconds: float) -> None:
    found = judge(run("sleep", length), Place(start=Start((), sh=Shell.BUSYBOX)))
    assert found is not None
    assert (found.effect, found.wait) == (Effect.WAITS, seconds)


@pytest.mark.parametrize("length", ["0x10", "+15", "1.5e1", " 15", "15ms", "--"])
def test_busybox_refuses_other_numbers(length: str) -> None:
    found = judge(run("sh", "-c", f"sleep '{length}'"), Place(start=Start((), sh=Shell.BUSYBOX)))
    assert found is not None
    assert (found.effect, found.wait) == (Effect.FAILS, 0)
