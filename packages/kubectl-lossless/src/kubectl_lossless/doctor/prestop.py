"""A preStop hook: how long it holds SIGTERM back, and whether it does that at all."""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubectl_lossless.doctor import shell
from kubectl_lossless.doctor.server import SHELLS, program

SHORTEST_WAIT = 5.0
"""Seconds below which a wait is shorter than endpoints take to reach every node's kube-proxy."""

FOREVER = 1e9
"""Seconds of `sleep infinity`."""

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

STOPPING = re.compile(r"shutdown|/quit|/stop|/exit|/kill|terminate|/abort|quitquitquit", re.IGNORECASE)
STOPS = re.compile(
    r"\bkill\s+(-(TERM|QUIT|INT|KILL|s\s+\w+|\d+|SIG\w+)\s+)?(1|-1|\$\(pidof|\$\(pgrep|`pidof|`cat|\$\(cat)"
    r"|\bxargs\s+(-\S+\s+)*kill\b|\bnginx\s+-s\s+(quit|stop)|\bpkill\b|\bkillall\b|\bapachectl\s+(-k\s+)?(stop|graceful-stop)|\buwsgi\s+--stop"
)


class Effect(enum.Enum):
    """Effect of a hook."""

    WAITS = "waits"
    RETURNS = "returns at once"
    STOPS = "stops the server itself"
    FAILS = "cannot run"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class PreStop:
    """A judged hook."""

    effect: Effect
    seconds: float | None
    """Duration of the hook; None where that cannot be known."""
    reason: str = ""
    """The part of the hook that the judgement rests on."""

    @property
    def wait(self) -> float | None:
        """Duration of service after the pod's deletion, in seconds; None if unknown."""
        if self.effect in (Effect.RETURNS, Effect.STOPS, Effect.FAILS):
            return 0.0
        return self.seconds


def judge(hook: dict[str, Any] | None, ports: Collection[str] = ()) -> PreStop | None:
    """Judge a container's preStop hook; None where it has none. `ports`: names of the container's ports."""
    if not hook:
        return None
    if isinstance(sleep := hook.get("sleep"), dict):
        seconds = float(sleep.get("seconds", 0))
        return PreStop(Effect.WAITS if seconds else Effect.RETURNS, seconds, f"sleep of {seconds:g} s")
    if isinstance(http := hook.get("httpGet"), dict):
        return _judge_request(http, ports)
    if "tcpSocket" in hook:
        return PreStop(Effect.FAILS, 0.0, "tcpSocket hooks are not supported, and do nothing")
    command = (hook.get("exec") or {}).get("command") or []
    if not command:
        return PreStop(Effect.RETURNS, 0.0, "no command")
    return _judge_command(command)


def _judge_request(http: dict[str, Any], ports: Collection[str]) -> PreStop:
    path, port = str(http.get("path", "/")), http.get("port")
    if isinstance(port, str) and not port.isdigit() and port not in ports:
        return PreStop(Effect.FAILS, 0.0, f"the container has no port called {port}")
    if STOPPING.search(path):
        return PreStop(Effect.STOPS, 0.0, f"GET {path}")
    return PreStop(Effect.UNKNOWN, None, f"GET {path}")


def _judge_command(command: list[str]) -> PreStop:
    if len(command) == 1 and " " in command[0].strip():
        return PreStop(Effect.FAILS, 0.0, f"no program is called {command[0]!r}: a word each, or sh -c")
    command = _behind_wrappers(command)
    name = Path(command[0]).name
    if name in SHELLS:
        script = next((word for word in command[1:] if not word.startswith("-")), "")
        if len(command) > 1 and re.fullmatch(r"-[a-z]*c[a-z]*", command[1]):
            return _judge_script(script)
        return PreStop(Effect.UNKNOWN, None, shlex.join(command))
    return _judge_commands([command], shlex.join(command), direct=True)


def _judge_script(text: str) -> PreStop:
    try:
        script = shell.parse(text)
    except (shell.ShellError, RecursionError) as error:
        return PreStop(Effect.FAILS, 0.0, f"the shell cannot read {_short(text)!r}: {error}")
    commands = []
    waits = any(command.name == "wait" for command, _ in script.commands())
    for command, background in script.commands():
        words = [word.text for word in command.words]
        if background and not waits:
            words = []
        if words and len(command.words) == 1 and " " in words[0].strip() and not command.words[0].dynamic:
            return PreStop(Effect.FAILS, 0.0, f"no program is called {words[0]!r}")
        commands.append(words)
    loops = any(
        isinstance(each, shell.Compound) and each.kind == "loop" for each in shell.all_commands(script)
    )
    judged = _judge_commands([each for each in commands if each], text)
    if loops and judged.effect is not Effect.STOPS:
        return PreStop(Effect.UNKNOWN, None, _short(text))
    return judged


def _judge_commands(commands: list[list[str]], text: str, *, direct: bool = False) -> PreStop:
    """Judge commands. `direct`: without a shell, so nothing expands variables (nor does Kubernetes)."""
    total: float | None = 0.0
    before = 0.0  # waited before the server is stopped
    other = False
    for words in map(_behind_wrappers, commands):
        seconds = _slept(words)
        if seconds is None:
            line = " ".join(words)
            requests = Path(words[0]).name in ("curl", "wget") and STOPPING.search(line)
            if requests or STOPS.search(line):
                return PreStop(Effect.WAITS if before else Effect.STOPS, before, " ".join(words))
            if Path(words[0]).name == "sleep" and (direct or not re.search(r"[$`]", " ".join(words))):
                return PreStop(Effect.FAILS, 0.0, f"{shlex.join(words)!r} is no length of time")
            if Path(words[0]).name == "sleep":
                total = None
            elif Path(words[0]).name not in shell.TRIVIAL:
                other = True
        elif total is not None:
            total += seconds
            before += seconds
    if total is None:
        return PreStop(Effect.UNKNOWN, None, _short(text))
    if total:
        return PreStop(Effect.WAITS, total, _short(text))
    return PreStop(Effect.UNKNOWN if other else Effect.RETURNS, None if other else 0.0, _short(text))


def _behind_wrappers(words: list[str]) -> list[str]:
    """Return the command line behind exec, env, nice and others of that kind, and behind busybox."""
    rest = program(words)
    if rest and Path(rest[0]).name == "busybox" and len(rest) > 1:
        rest = rest[1:]
    return rest or words


def _within_timeout(words: list[str]) -> float | None:
    """Return how long `timeout` lets a command sleep; None for another command."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in ("-k", "-s", "--kill-after", "--signal") else rest[1:]
    if len(rest) < 2:
        return None
    longest, slept = _slept(["sleep", rest[0]]), _slept(rest[1:])
    return None if longest is None or slept is None else min(longest or slept, slept)


def _slept(words: list[str]) -> float | None:
    """Return how long a command sleeps; None for one that is no sleep, or of a length that cannot be read."""
    name = Path(words[0]).name
    if name == "timeout":
        return _within_timeout(words[1:])
    if name == "sleep" and len(words) > 1:
        total = 0.0
        for word in words[1:]:
            if word in ("inf", "infinity"):
                return FOREVER
            found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})([smhd]?)", word)
            if found is None:
                return None
            total += float(found[1]) * UNITS[found[2]]
        return total
    if re.fullmatch(r"python[0-9.]*|perl|ruby|node", name):
        found = re.search(r"\bsleep[ (]\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)", " ".join(words[1:]))
        return float(found[1]) if found else None
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
