"""Command lines behind the programs that exec their arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kubectl_lossless.doctor.shell.tokens import ASSIGNMENT

INITS = {"tini", "tini-static", "dumb-init", "catatonit", "docker-init", "s6-svscan", "pid1"}
"""Programs made to be PID 1, which pass signals on to the one program they start."""

EXECUTING = {
    "gosu": 1, "su-exec": 1, "chpst": 0, "nice": 0, "stdbuf": 0, "ddtrace-run": 0,
    "opentelemetry-instrument": 0,
    "nohup": 0, "numactl": 0,
    "corepack": 0, "newrelic-admin": 1, "chamber": 0, "setpriv": 0, "exec": 0, "command": 0,
    "s6-setuidgid": 1, "setuidgid": 1, "chroot": 1, "ionice": 0, "taskset": 1,
}  # fmt: skip
"""Programs that end by exec'ing the rest of their arguments, and how many of their own come before it."""

WITH_VALUE = {
    "tini": r"-[pe]",
    "tini-static": r"-[pe]",
    "dumb-init": r"-r|--rewrite",
    "env": r"-[uC]|--unset|--chdir",
    "nice": r"-n|--adjustment",
    "ionice": r"-[cn]|--class|--classdata",
    "stdbuf": r"-[ioe]|--input|--output|--error",
    "chpst": r"-[uUebnlLmdopfcrt]",
    "setpriv": r"--(re|ru|eu|)[ug]id|--(re|r|e)gid|--groups|--(inh|ambient)-caps|--bounding-set|--securebits",
    "exec": r"-a",
    "opentelemetry-instrument": r"--.*",
    "uv": r"-[pw]|--with|--python|--project|--directory|--env-file|--extra|--group|--package|--index",
}
"""Options of these programs that take the next word."""

RUNNERS = {"poetry": "run", "pipenv": "run", "bundle": "exec"}
"""Programs that exec what stands behind a word of theirs."""


def program(command: Sequence[str]) -> list[str]:
    """Return the command line behind inits, env and other programs that exec their arguments."""
    rest = list(command)
    while rest:
        name = Path(rest[0]).name
        if name in INITS:
            rest = _after_options(rest)
        elif name == "env":
            rest = _after_options(rest)
            while rest and (ASSIGNMENT.match(rest[0]) or rest[0].startswith(("$(", "`"))):
                rest = rest[1:]  # assignments, or a command's output with some
        elif name in EXECUTING and len(rest) > 1:
            rest = _after_options(rest)[EXECUTING[name] :]
        elif name in RUNNERS and RUNNERS[name] in rest:
            rest = rest[rest.index(RUNNERS[name]) + 1 :]
        elif name == "uv" and rest[1:2] == ["run"]:
            rest = _after_options(["uv", *rest[2:]])
        else:
            break
    return rest


def _after_options(command: list[str]) -> list[str]:
    """Return what stands behind a program's name and options."""
    with_value = re.compile(WITH_VALUE.get(Path(command[0]).name, r"(?!)"))
    words = command[1:]
    while words and words[0].startswith("-") and len(words[0]) > 1:
        option = words[0]
        words = (
            words[2:] if with_value.fullmatch(option) and option != "--" and "=" not in option else words[1:]
        )
        if option == "--":
            break
    return words


IN_FRONT = (
    "debugpy",
    "coverage",
    "cProfile",
    "profile",
    "memray",
    "trace",
    "viztracer",
    "scalene",
    "pyinstrument",
)
"""Modules of Python that run another module or file in their own process."""


def after_python_options(words: Sequence[str]) -> list[str]:
    """Return what Python runs: -m and a module, -c and code, or a file, with the arguments behind it.

    Behind debugpy, coverage and others of that kind it is the program that they run in the same process.
    """
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
        if joined := re.fullmatch(r"-[bBdEiIOPqRsSuvx]*m(.*)", rest[0]):  # -um http.server, -mhttp.server
            rest = ["-m", *filter(None, [joined[1]]), *rest[1:]]
        else:
            rest = rest[2:] if rest[0] in ("-W", "-X") else rest[1:]
    if rest[:1] == ["-m"] and rest[1:2] and rest[1] in IN_FRONT:
        for at, word in enumerate(rest[2:], 2):
            if word == "-m" or word.endswith(".py"):
                return rest[at:]
    return rest
