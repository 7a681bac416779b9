"""Gunicorn's settings, as Gunicorn reads them, and those of the drain."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from gunicorn.config import Config

from kubectl_lossless.doctor import own
from kubectl_lossless.doctor.configuration import Configuration
from kubectl_lossless.doctor.server.model import OWN_NAME, Server
from kubectl_lossless.doctor.server.programs import server_name
from kubectl_lossless.doctor.server.start import Start

DEFAULT_FILE = "gunicorn.conf.py"
"""Gunicorn's configuration file in its working directory, where no other is named."""

DEFAULTS = Config()
"""Gunicorn's own defaults, with which it runs where neither its command line nor its file sets another."""

OPTIONS = {flag: name for name, setting in DEFAULTS.settings.items() for flag in setting.cli or ()}
FLAGS = {
    name for name, setting in DEFAULTS.settings.items() if setting.action in ("store_true", "store_false")
}
"""Settings by their options, and the settings whose option takes no value."""

MISSPELT = 0.85
"""Least similarity of a misspelt option, from 0 to 1."""


class _RefusedError(Exception):
    """Gunicorn refuses its settings; the text says which."""


def of_gunicorn(
    words: Sequence[str], environment: Mapping[str, str], configuration: Configuration | None = None
) -> Server:
    """Return Gunicorn with the settings of its command line, its variable and, where seen, its file."""
    try:
        given, unknown = _settings(words, environment.get("GUNICORN_CMD_ARGS", ""))
    except _RefusedError as refused:
        return Server("Gunicorn", drain=0.0, setting="args", wrong=(str(refused),))
    file = str(given.get("config", ""))
    defaults = file in ("", own.PACKAGE)  # whose file sets nothing else
    drain = 0.0 if not file else None
    if configuration is not None and file != own.PACKAGE:
        unknown |= configuration.unknown - set(given)
        given = {**configuration.values, **given}
        defaults = configuration.is_complete
        drain = 0.0 if configuration.is_complete and not configuration.installs else None
        file = "" if configuration.is_complete else file or DEFAULT_FILE

    def value(name: str) -> float | None:
        if name in unknown:
            return None
        if name in given:
            return _as_number(given[name])
        if file == own.PACKAGE and name == "graceful_timeout":
            return own.PACKAGE_GRACEFUL
        return _as_number(DEFAULTS.settings[name].default) if defaults else None

    threads, worker = value("threads"), given.get("worker_class", "sync" if defaults else None)
    sync = worker == "sync" and threads == 1 and "worker_class" not in unknown
    max_requests = value("max_requests")
    return Server(
        "Gunicorn",
        drain=drain,
        graceful=value("graceful_timeout"),
        keepalive=0 if sync else value("keepalive"),  # which Uvicorn's worker takes too
        max_requests=None if max_requests is None else 0 if sync else int(max_requests),
        setting="args",
        file=file,
        reloads=bool(given.get("reload")),
    )


def _settings(words: Sequence[str], variable: str) -> tuple[dict[str, object], set[str]]:
    """Return the settings of a command line and of GUNICORN_CMD_ARGS, and the names of unknown ones.

    Raises _RefusedError.
    """
    try:
        from_variable = shlex.split(variable)
    except ValueError as error:
        raise _RefusedError(f"GUNICORN_CMD_ARGS is {variable!r}: {str(error).lower()}") from error
    given: dict[str, object] = {}
    unknown: set[str] = set()
    for each in (from_variable, _gunicorn_arguments(words)):  # the command line wins, as in Gunicorn
        rest, dynamic = _without_unknown_values(each)
        unknown |= dynamic
        try:
            with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
                found, others = _parser().parse_known_args(rest)
        except (SystemExit, argparse.ArgumentError) as error:
            reason = said.getvalue().strip().rpartition("error: ")[2]
            raise _RefusedError(f"Gunicorn refuses {reason or shlex.join(words)}") from error
        if misspelt := _misspelt(others):
            raise _RefusedError(misspelt)
        given |= {name: value for name, value in vars(found).items() if value is not None}
    return given, unknown


@cache
def _parser() -> argparse.ArgumentParser:
    """Return Gunicorn's parser, whose hundred options take longer to create than a manifest to check."""
    return DEFAULTS.parser()


def _gunicorn_arguments(words: Sequence[str]) -> list[str]:
    """Return Gunicorn's own arguments in a command line."""
    for number, word in enumerate(words):
        if Path(word).name == "gunicorn" or word in ("gunicorn.app.wsgiapp", "gunicorn.__main__"):
            return list(words[number + 1 :])
    return []


def _without_unknown_values(words: Sequence[str]) -> tuple[list[str], set[str]]:
    """Take out options whose value only the shell knows; return the rest and the names of their settings."""
    rest: list[str] = []
    unknown: set[str] = set()
    skip = False
    for number, word in enumerate(words):
        if skip:
            skip = False
            continue
        flag, _, value = word.partition("=")
        following = words[number + 1] if number + 1 < len(words) else ""
        if flag in OPTIONS and not value and OPTIONS[flag] not in FLAGS and _is_dynamic(following):
            unknown.add(OPTIONS[flag])
            skip = True
        elif flag in OPTIONS and _is_dynamic(value):
            unknown.add(OPTIONS[flag])
        elif word[:2] in OPTIONS and not word.startswith("--") and _is_dynamic(word):
            unknown.add(OPTIONS[word[:2]])
        elif not _is_dynamic(word):
            rest.append(word)
    return rest, unknown


def _is_dynamic(word: str) -> bool:
    return bool(re.search(r"[$`]", word))


def _misspelt(words: Sequence[str]) -> str:
    """Return what Gunicorn does not know and is like an option of it; others may be of another version."""
    for word in words:
        option = word.partition("=")[0]
        like = get_close_matches(option, OPTIONS, 1, MISSPELT) if option.startswith("--") else []
        if like:
            return f"Gunicorn refuses {option}; {like[0]} may be meant"
    return ""


def _as_number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def with_drain(server: Server, environment: Mapping[str, str], more: Sequence[str] = ()) -> Server:
    """Return Gunicorn with the drain of gunicorn-drain, which has its settings from the environment.

    `more`: settings in addition to those that each service with the drain has.
    """
    of_package = {name: value for name, value in environment.items() if name not in own.NOT_OF_PACKAGE}
    read = own.read(of_package, more)
    return replace(
        server,
        drain=read.values["DRAIN_MAX"] if read.drains else 0.0,
        file="",
        wrong=(*server.wrong, *read.wrong),
        ignored=read.ignored,
    )


def with_install(server: Server, configuration: Configuration, environment: Mapping[str, str]) -> Server:
    """Return Gunicorn whose configuration file calls gunicorn-drain's install()."""
    if configuration.policy is None and configuration.is_complete:
        return with_drain(server, environment)
    if configuration.policy is None:
        return replace(server, drain=None)
    return replace(server, drain=float(configuration.policy), file="")


def own_service(environment: Mapping[str, str]) -> Server:
    """Return this project's service, which has its settings from the environment."""
    read = own.read(environment)
    return Server(
        OWN_NAME,
        drain=read.values["DRAIN_MAX"] if read.drains else 0.0,
        graceful=read.values["GRACEFUL_TIMEOUT"],
        keepalive=0 if environment.get("WORKER_CLASS") == "sync" else read.values["KEEPALIVE"],
        max_requests=0,
        setting="env",
        wrong=read.wrong,
        ignored=read.ignored,
    )


def configuration_file(start: Start, environment: Mapping[str, str]) -> str:
    """Return the path of Gunicorn's configuration file in the container; "" where there is none to read."""
    if server_name(start.serving) != "gunicorn":
        return ""
    found = of_gunicorn(start.serving, environment)
    path = (found.file or DEFAULT_FILE).removeprefix("file:")
    if path.startswith("python:"):
        return ""
    return path if path.startswith("/") else f"/proc/1/cwd/{path.removeprefix('./')}"
