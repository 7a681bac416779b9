"""A preStop hook: how long it holds SIGTERM back, and whether it does that at all."""

from __future__ import annotations

import enum
import math
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kubectl_lossless.doctor.server.command_line import program
from kubectl_lossless.doctor.server.images import SHELLS
from kubectl_lossless.doctor.server.start import Start, cannot_execute
from kubectl_lossless.doctor.shell.commands import TRIVIAL, Compound, Script, Simple
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.reached import reached
from kubectl_lossless.doctor.shell.tokens import Shell, ShellError

SHORTEST_WAIT = 5.0
"""Seconds below which a wait is shorter than endpoints take to reach every node's kube-proxy."""

FOREVER = 1e9
"""Seconds of `sleep infinity`."""

NODE = ("localhost", "127.0.0.1", "::1", "[::1]")
"""Hosts of a handler that mean the node, where the kubelet runs, and not the pod."""

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

STOPPING = re.compile(r"shutdown|/quit|/stop|/exit|/kill|terminate|/abort|quitquitquit", re.IGNORECASE)
SIGNAL = r"-([sn]\s+)?(SIG)?(TERM|QUIT|INT|KILL|ABRT|WINCH|[2369]|15|28)\s+(--\s+)?"
"""An option of kill with a signal that ends a server. At others it reloads, or it is only looked for."""

STOPS = re.compile(
    rf"\bkill\s+({SIGNAL})?\"?(1\b|-1\b(?!\s+\S)|\$\(pidof|\$\(pgrep|`pidof|`pgrep|`cat|\$\(cat|\$\(<)"
    r"|\bxargs\s+(-\S+\s+)*kill\b|\bnginx\b(\s+-[^s\s]\S*(\s+[^-\s]\S*)?)*\s+-s\s*(quit|stop)\b|\bpkill\b(?!\s+-(SIG)?(HUP|USR[12]|[01])\b)|\bkillall5?\b"
    r"|\b(apachectl|apache2ctl|httpd|apache2)\s+(-k\s+)?(stop|graceful-stop)\b|\buwsgi\s+--stop"
    r"|\bsupervisorctl\b.*\s(stop|shutdown)\b|\bservice\s+\S+\s+stop\b|\b(systemctl|sv)\s+stop\b|/etc/init\.d/\S+\s+stop\b"
    r"|\bcatalina\.sh\s+stop\b|/shutdown\.sh\b|\bpumactl\b.*\s(stop|halt)\b|\b(pm2|caddy)\s+(stop|delete|kill)\b|\bs6-svc\s+-\w*d"
)
"""Command lines that stop a server."""

USER_SIGNAL = re.compile(r"\bkill\s+-(s\s+)?(SIG)?(USR1|10)\s+\"?(1\b|\$\(|`)")
"""Command line that stops HAProxy; other servers reopen their logs or do nothing."""

SYSTEM = {
    *("sleep", "usleep", "timeout", "true", "echo", "cat", "touch", "rm", "kill", "pkill", "killall"),
    *("pgrep", "curl", "wget", "nc", "env", "busybox", "find", "test", "tail", "grep"),
}
"""Programs of a system, beside the shells, that an image of distroless lacks."""

ENDLESS = re.compile(r"\b(while\s+(true|:|1|\[ 1 \])|until\s+false)\s*(;|\n)\s*do\b")

LENGTH = re.compile(
    r"\s*\+?(?:(?P<hex>0[xX](?:[0-9a-fA-F]{1,100}\.?[0-9a-fA-F]{0,100}|\.[0-9a-fA-F]{1,100})(?:[pP][+-]?[0-9]{1,2})?)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))(?P<unit>[smhd]?)"
)
"""Argument of the sleep of GNU coreutils: a number as C's strtold reads it, and its unit."""

LENGTH_OF_BUSYBOX = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>[smhd]?)")
"""Argument of the sleep of BusyBox: digits and a point alone. Measured: coreutils 9.1, BusyBox 1.35."""

BLACKOUT = "SHUTDOWN_BLACKOUT_SECONDS"
"""Variable of GitLab's webservice: its signal to stop turns readiness false, and it serves on so long."""

NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
SLEEPS = (
    (r"python[0-9.]*|perl|ruby|php", rf"\bsleep[ (]\s*{NUMBER}(?:\s*\*\s*{NUMBER})?\s*(?![0-9.*+/])", 1.0),
    (r"perl", rf"\bselect\s*\(\s*undef\s*,\s*undef\s*,\s*undef\s*,\s*{NUMBER}\s*\)", 1.0),
    (r"node|bun|deno", rf"\bsetTimeout\s*\(.*,\s*{NUMBER}\s*\)", 0.001),
    (r"powershell|pwsh", rf"(?i:\bstart-sleep\s+(?:-s(?:econds)?\s+)?){NUMBER}", 1.0),
    (r"powershell|pwsh", rf"(?i:\bstart-sleep\s+-m(?:illiseconds)?\s+){NUMBER}", 0.001),
)
"""Programs that are given a sleep as code: their names, the sleep's pattern, and its unit in seconds."""

VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-[^}$]*)?\}|(\w+))")
"""A variable in a script, with a default or without one."""


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


@dataclass(frozen=True)
class Place:
    """The container that a hook belongs to, as far as it matters for the hook."""

    ports: Collection[str | int] = ()
    """Names and numbers of its ports."""
    start: Start = field(default_factory=lambda: Start(()))
    """Its command line, with the files in it that are known."""
    program: str = ""
    """Name of its program."""
    environment: Mapping[str, str] = field(default_factory=dict)
    on_node: bool = False
    """True where it uses the network of its node."""
    bare: bool = False
    """True where its image is known to have no programs but its own."""


def judge(hook: dict[str, Any] | None, place: Place = Place()) -> PreStop | None:
    """Judge a container's preStop hook; None where it has none."""
    if not hook:
        return None
    if isinstance(sleep := hook.get("sleep"), dict):
        seconds = float(sleep.get("seconds", 0))
        return PreStop(Effect.WAITS if seconds else Effect.RETURNS, seconds, f"sleep of {seconds:g} s")
    if isinstance(http := hook.get("httpGet"), dict):
        return _judge_request(http, place)
    if "tcpSocket" in hook:
        return PreStop(Effect.FAILS, 0.0, "tcpSocket hooks are not supported, and do nothing")
    command = (hook.get("exec") or {}).get("command") or []
    if not command:
        return PreStop(Effect.RETURNS, 0.0, "no command")
    return _judge_command(command, place)


def _judge_request(http: dict[str, Any], place: Place) -> PreStop:
    path, port, host = str(http.get("path", "/")), http.get("port"), str(http.get("host", ""))
    if isinstance(port, str) and not port.isdigit() and port not in place.ports:
        return PreStop(Effect.FAILS, 0.0, f"the container has no port called {port}")
    if host in NODE and not place.on_node:
        return PreStop(Effect.FAILS, 0.0, f"the kubelet asks {host} from the node, not in the pod")
    numbers = [each for each in place.ports if isinstance(each, int)]
    elsewhere = bool(host) or (isinstance(port, int) and bool(numbers) and port not in numbers)
    # Envoy's shutdown manager, in a container of its own, responds only when Envoy has drained.
    if STOPPING.search(path) and not elsewhere:
        return PreStop(Effect.STOPS, 0.0, f"GET {path}")
    return PreStop(Effect.UNKNOWN, None, f"GET {path}")


def _judge_command(command: list[str], place: Place) -> PreStop:
    if not command[0] or (re.search(r"\S\s+\S", command[0]) and "\\" not in command[0]):
        return PreStop(Effect.FAILS, 0.0, f"no program is called {command[0]!r}: a word each, or sh -c")
    if place.bare and (lacking := program_of_system(command)):
        return PreStop(Effect.FAILS, 0.0, f"an image of distroless has no {lacking}")
    if written := cannot_execute(replace(place.start, words=tuple(command))):
        return PreStop(Effect.FAILS, 0.0, written)
    if Path((program(command) or command)[0]).name == "busybox":
        place = replace(place, start=replace(place.start, sh=Shell.BUSYBOX))
    command = _behind_wrappers(command)
    if Path(command[0]).name in SHELLS or command[0] in place.start.files:
        start = replace(place.start, words=tuple(command))
        if start.script is None:
            return PreStop(Effect.UNKNOWN, None, _short(shlex.join(command)))
        return _judge_script(start, place)
    return _judge_commands([command], shlex.join(command), place, direct=True)


def program_of_system(command: list[str]) -> str:
    """Return the program that a command starts, if images without a system have none of that name."""
    name = Path(command[0]).name
    return name if name in SYSTEM or name in SHELLS else ""


def _judge_script(start: Start, place: Place) -> PreStop:
    """Judge the script of a shell. One that cannot be read in a file may be for another shell."""
    text = VARIABLE.sub(lambda found: _value(found, place), start.script or "")
    try:
        script = reached(parse(text, start.shell or Shell.OTHER))
    except (ShellError, RecursionError) as error:
        if start.script_file:
            return PreStop(Effect.UNKNOWN, None, _short(text))
        return PreStop(Effect.FAILS, 0.0, f"the shell cannot read {_short(text)!r}: {error}")
    commands = []
    waits = any(command.name == "wait" for command, _ in script.commands())
    for command, background in _outside_loops(script, place.start.sh):
        words = [word.text for word in command.words]
        if background and not waits:
            words = []
        if words and len(command.words) == 1 and " " in words[0].strip() and not command.words[0].dynamic:
            return PreStop(Effect.FAILS, 0.0, f"no program is called {words[0]!r}")
        commands.append(words)
    judged = _judge_commands([each for each in commands if each], text, place)
    loops = any(isinstance(each, Compound) and each.kind == "loop" for each in script.top)
    if not loops or judged.effect is Effect.STOPS or (judged.wait or 0.0) >= SHORTEST_WAIT:
        return judged
    if ENDLESS.search(text) and not re.search(r"\b(break|exit|return|kill)\b", text):
        return PreStop(Effect.WAITS, FOREVER, _short(text))
    return PreStop(Effect.UNKNOWN, None, _short(text))


def _value(variable: re.Match[str], place: Place) -> str:
    """Return the number that a variable has in the container's environment, else the variable."""
    found = place.environment.get(variable[1] or variable[2], "")
    return found if re.fullmatch(r"[0-9.]{1,12}[smhd]?", found) else variable[0]


def _outside_loops(script: Script, sh: Shell) -> Iterator[tuple[Simple, bool]]:
    """Yield the commands that run once, each with whether it runs in the background."""
    for item in script.items:
        for pipeline in item.pipelines:
            for command in pipeline.commands:
                if isinstance(command, Simple):
                    yield command, item.background
                elif isinstance(command, Compound) and command.kind != "loop":
                    bodies = [list(_outside_loops(body, sh)) for body in command.bodies]
                    longest = max(bodies, key=lambda body: _slept_in(body, sh), default=[])
                    for body in bodies:
                        # Of several branches one runs: the longest sleep counts.
                        counts = body is longest or command.kind not in ("if", "case")
                        for each, held in body:
                            if counts or _slept_by(each, sh) is None:
                                yield each, held or item.background


def _slept_by(command: Simple, sh: Shell) -> float | None:
    return _slept([each.text for each in command.words], sh) if command.words else None


def _slept_in(commands: list[tuple[Simple, bool]], sh: Shell) -> float:
    return sum(_slept_by(command, sh) or 0.0 for command, _ in commands)


def _judge_commands(commands: list[list[str]], text: str, place: Place, *, direct: bool = False) -> PreStop:
    """Judge commands. `direct`: without a shell, so nothing expands variables (nor does Kubernetes)."""
    total: float | None = 0.0
    before = 0.0  # waited before the server is stopped
    other = False
    denied = ""
    for words in map(_behind_wrappers, commands):
        if words[0] in place.start.not_executable:
            denied = words[0]
            continue
        seconds = _slept(words, place.start.sh)
        if seconds is None:
            line = " ".join(words)
            requests = Path(words[0]).name in ("curl", "wget") and STOPPING.search(line)
            ends = place.program == "haproxy" and USER_SIGNAL.search(line)
            if requests or ends or STOPS.search(line):
                serving_on = place.environment.get(BLACKOUT, "")
                before += float(serving_on) if re.fullmatch(NUMBER, serving_on) else 0.0
                return PreStop(Effect.WAITS if before else Effect.STOPS, before, " ".join(words))
            if Path(words[0]).name == "sleep" and (direct or not re.search(r"[$`]", " ".join(words))):
                return PreStop(Effect.FAILS, 0.0, f"{shlex.join(words)!r} is no length of time")
            if Path(words[0]).name == "sleep":
                total = None
            elif Path(words[0]).name not in TRIVIAL - {"eval", ".", "read"}:  # read -t may wait
                other = True
        elif total is not None:
            total += seconds
            before += seconds
    if total is None:
        return PreStop(Effect.UNKNOWN, None, _short(text))
    if total:
        return PreStop(Effect.WAITS, total, _short(text))
    if denied and not other:
        written = cannot_execute(replace(place.start, words=(denied,)))
        return PreStop(Effect.FAILS, 0.0, written)
    return PreStop(Effect.UNKNOWN if other else Effect.RETURNS, None if other else 0.0, _short(text))


def _behind_wrappers(words: list[str]) -> list[str]:
    """Return the command line behind exec, env, nice and others of that kind, and behind busybox."""
    rest = program(words)
    if rest and Path(rest[0]).name == "busybox" and len(rest) > 1:
        rest = rest[1:]
    return rest or words


def _within_timeout(words: list[str], sh: Shell) -> float | None:
    """Return how long `timeout` lets a command sleep; None for another command."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in ("-k", "-s", "--kill-after", "--signal") else rest[1:]
    if len(rest) < 2:
        return None
    longest, slept = _slept(["sleep", rest[0]], sh), _slept(rest[1:], sh)
    return None if longest is None or slept is None else min(longest or slept, slept)


def _slept(words: list[str], sh: Shell) -> float | None:
    """Return how long a command sleeps; None for one that is no sleep, or of a length that cannot be read."""
    name, rest = Path(words[0]).name.removesuffix(".exe"), " ".join(words[1:])
    if name == "timeout":
        return _within_timeout(words[1:], sh)
    if name == "tail" and re.search(r"(^|\s)-(\w*[fF]\b|-follow)", rest):
        return FOREVER
    if name == "usleep" and re.fullmatch(r"[0-9]{1,12}", rest):
        return float(rest) / 1e6
    if name == "sleep" and len(words) > 1:
        return _length(words[1:], sh)
    for programs, pattern, unit in SLEEPS:
        if re.fullmatch(programs, name) and (found := re.search(pattern, rest)):
            return unit * math.prod(float(each) for each in found.groups() if each)
    return None


def _length(words: list[str], sh: Shell) -> float | None:
    """Return the sum of the arguments of sleep in seconds; None where the one of the image refuses them."""
    of_busybox = sh is Shell.BUSYBOX
    forever, length = (r"inf.*", LENGTH_OF_BUSYBOX) if of_busybox else (r"inf(inity)?", LENGTH)
    total = 0.0
    for word in words[1:] if words[0] == "--" and not of_busybox else words:
        if re.fullmatch(forever, word, re.IGNORECASE):
            total = FOREVER
        elif (found := length.fullmatch(word)) is None:
            return None
        else:
            hexadecimal = None if of_busybox else found["hex"]
            number = float.fromhex(hexadecimal) if hexadecimal else float(found["number"])
            total += number * UNITS[found["unit"]]
    return min(total, FOREVER)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
