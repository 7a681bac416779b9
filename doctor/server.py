"""What is known of the server that a container runs: from its command line and environment."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gunicorn.config import Config

from app.settings import Settings, SettingsError, notices

INITS = {"tini", "tini-static", "dumb-init", "catatonit", "docker-init"}
"""Programs made to be PID 1, which pass signals on to the one program they start."""

SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}

# Gunicorn's own defaults, with which it runs where neither its command line nor its file says otherwise.
DEFAULTS = Config()

OWN_NAME = "this service"

OWN = ("DRAIN", "DRAIN_MIN", "DRAIN_QUIET", "DRAIN_MAX")
"""Environment variables by which a container of this project's service is recognised."""


@dataclass(frozen=True)
class Server:
    """What a container runs. None: not known."""

    name: str
    """What it was recognised as: OWN_NAME, "Gunicorn", or "" where nothing tells."""
    drain: float | None = None
    """Seconds that its own drain lasts at most; 0 where it has none."""
    graceful: float | None = None
    """Seconds it then gives requests in flight."""
    keepalive: float | None = None
    """Seconds for which it keeps an idle connection; 0 closes after each answer, and says so."""
    max_requests: int | None = None
    setting: str = ""
    """Where its settings are changed: "env" or "args"."""
    file: str = ""
    """A configuration file that it reads and that cannot be seen from here."""
    wrong: tuple[str, ...] = ()
    """What is wrong with its settings; it does not start with them."""
    without_effect: tuple[str, ...] = ()
    """Its variables that look like settings and have no effect, a sentence each."""


def program(command: Sequence[str]) -> list[str]:
    """The command line behind an init."""
    rest = list(command)
    while rest and Path(rest[0]).name in INITS:
        rest = rest[1:]
        while rest and rest[0].startswith("-"):
            end = rest[0] == "--"
            rest = rest[1:]
            if end:
                break
    return rest


def shell_script(command: Sequence[str]) -> str | None:
    """What a shell is given to run with -c, None where the program is no shell."""
    rest = program(command)
    if not rest or Path(rest[0]).name not in SHELLS:
        return None
    for number, word in enumerate(rest[1:-1], 1):
        if re.fullmatch(r"-[a-z]*c", word):
            return rest[number + 1]
    return " ".join(rest[1:])  # a script in a file


def stays(script: str) -> bool | None:
    """Whether the shell stays the server's parent; None where it depends on which shell it is.

    Measured with Debian 12's bash 5.2, dash 0.5.12 and busybox 1.35: all become the only command of a
    script, bash and busybox also the last of several, dash does not; none with a command after it or a pipe.
    """
    commands = [each.strip() for each in re.split(r"&&|\|\||[;\n|&]", script) if each.strip()]
    if not commands:
        return None
    if re.match(r"exec\s", commands[-1]):
        return False
    single = len(commands) == 1 and not re.search(r"[;|&]", script) and "=" not in commands[0].split()[0]
    return None if single else True


def known(command: Sequence[str], environment: Mapping[str, str]) -> Server:
    """Tell what can be known from the command line and the environment."""
    if any(name in environment for name in OWN):
        return _own(environment)
    words = _gunicorn_arguments(command)
    if words is None and "GUNICORN_CMD_ARGS" not in environment:
        return Server("")
    return _gunicorn(words or [], shlex.split(environment.get("GUNICORN_CMD_ARGS", "")))


def told(server: Server, drain: float | None, graceful: float | None, keepalive: float | None) -> Server:
    """What a person who knows the server said about it on our command line."""
    if drain is not None:
        server = replace(server, drain=drain)
    if graceful is not None:
        server = replace(server, graceful=graceful)
    if keepalive is not None:
        server = replace(server, keepalive=keepalive)
    return server


def _own(environment: Mapping[str, str]) -> Server:
    wrong: tuple[str, ...] = ()
    try:
        settings = Settings.from_environment(environment)
    except SettingsError as error:
        settings, wrong = Settings(), tuple(str(error).splitlines())
    return Server(
        OWN_NAME,
        drain=settings.drain_max if settings.drain else 0.0,
        graceful=settings.graceful_timeout,
        keepalive=0 if settings.worker_class == "sync" else settings.keepalive,
        max_requests=0,
        setting="env",
        wrong=wrong,
        without_effect=tuple(notices(environment)),
    )


def _gunicorn_arguments(command: Sequence[str]) -> list[str] | None:
    """Gunicorn's own arguments in a command line or a shell's script, None where it is not there."""
    script = shell_script(command)
    if script is not None:
        try:
            words = list(shlex.shlex(script, posix=True, punctuation_chars=True))
        except ValueError:  # a quote that does not end
            return None
    else:
        words = list(command)
    for number, word in enumerate(words):
        if Path(word).name == "gunicorn":
            after = words[number + 1 :]
            if script is None:
                return after
            end = next((at for at, each in enumerate(after) if re.fullmatch("[;&|]+", each)), len(after))
            return after[:end]
    return None


def _gunicorn(line: Sequence[str], variable: Sequence[str]) -> Server:
    given: dict[str, object] = {}
    for words in (variable, line):  # the command line wins, as in Gunicorn
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                found, _ = DEFAULTS.parser().parse_known_args(list(words))
        except (SystemExit, argparse.ArgumentError):
            return Server("Gunicorn", setting="args", wrong=(f"Gunicorn refuses {shlex.join(words)!r}",))
        given |= {name: value for name, value in vars(found).items() if value is not None}
    file = str(given.get("config", ""))

    def value(name: str) -> float | None:
        if name in given:
            return float(str(given[name]))
        return None if file else float(DEFAULTS.settings[name].default)

    threads, worker = value("threads"), given.get("worker_class", None if file else "sync")
    sync = worker == "sync" and threads == 1
    max_requests = value("max_requests")
    return Server(
        "Gunicorn",
        drain=0.0 if not file else None,
        graceful=value("graceful_timeout"),
        keepalive=0 if sync else value("keepalive"),
        max_requests=None if max_requests is None else 0 if sync else int(max_requests),
        setting="args",
        file=file,
    )
