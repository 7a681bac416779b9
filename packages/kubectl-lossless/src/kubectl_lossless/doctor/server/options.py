"""Servers whose facts are in their kind and in the options of their command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubectl_lossless.doctor.server.kinds import Kind
from kubectl_lossless.doctor.server.model import Server
from kubectl_lossless.doctor.server.start import Start


def of_options(kind: Kind, words: Sequence[str], start: Start, environment: Mapping[str, str]) -> Server:
    """Return a server of a kind with the options of its command line and its variables."""
    variables = {
        "--" + key.removeprefix(kind.variables).lower().replace("_", "-"): value
        for key, value in environment.items()
        if kind.variables and key.startswith(kind.variables)
    }
    if kind.ignores_sigterm and start.behind_init:
        # Behind an init the default action ends it at once, and what it has in flight.
        kind = replace(kind, ignores_sigterm=False, drops_in_flight=True)
    stop_file = ""
    if kind.name == "uWSGI" and not _has_option(words, "--die-on-term") and "--die-on-term" not in variables:
        stop_file, stops = _uwsgi_stop(words, variables, start.files)
        graceful = _stops_gracefully(words, start.files)
        ignores = not (stop_file or stops or graceful)
        kind = replace(kind, ignores_sigterm=ignores, drops_in_flight=not graceful)
    # The command line has precedence over a variable.
    given = [word for option, value in variables.items() for word in (option, value)] + list(words)
    file = _option_value(words, kind.file_options)
    limit = _number(given, kind.max_requests_option, 0)
    return Server(
        kind.name,
        drain=None if kind.name == "A Python program" else 0.0,
        graceful=_number(given, kind.graceful_option, None if file else kind.graceful),
        keepalive=_number(given, kind.keepalive_option, None if file else kind.keepalive),
        file=file,
        max_requests=None if limit is None else int(limit),
        setting="args",
        kind=kind,
        reloads=_has_option(words, "--reload")
        or words[:2] == ["fastapi", "dev"]
        or variables.get("--reload", "").lower() in ("1", "true", "yes", "on"),
        stop_file=stop_file,
    )


DIE_ON_TERM = re.compile(r"(?m)^\s*\"?die-on-term\"?\s*[=:]\s*(true|1|yes|on)\b")
"""The setting of a uWSGI file that lets it stop at SIGTERM."""


GRACEFUL_STOP = re.compile(r"unix_signal:(15|SIGTERM)\s+gracefully_kill_them_all")
"""Hook of uWSGI's master that lets its workers finish their requests at SIGTERM."""


def _stops_gracefully(words: Sequence[str], files: Mapping[str, str]) -> bool:
    """Return whether uWSGI has that hook, and a master, which runs it."""
    given = [*words, *(files[each] for each in words if each in files)]
    text = "\n".join(given)
    master = "-M" in words or re.search(r"(?m)^\s*(--)?\"?master\"?\s*([=:]\s*(true|1)\b|$)", text)
    return bool(GRACEFUL_STOP.search(text) and master)


def _uwsgi_stop(
    words: Sequence[str], variables: Mapping[str, str], files: Mapping[str, str]
) -> tuple[str, bool]:
    """Return the file that may let uWSGI stop at SIGTERM, "" for none, and whether a known file does."""
    named = [
        word.partition("=")[2] or word
        for word in words[1:]
        if re.search(r"\.(ini|ya?ml|xml|json)$", word) or word.startswith("--emperor")
    ]
    named += [variables[each] for each in ("--ini", "--yaml", "--emperor") if each in variables]
    if not named:
        return "", False
    text = files.get(named[0])
    return (named[0], False) if text is None else ("", bool(DIE_ON_TERM.search(text)))


def _option_value(words: Sequence[str], names: Sequence[str]) -> str:
    """Return the value of an option, "" where it is not given."""
    for number, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in names:
            return value or (words[number + 1] if number + 1 < len(words) else "")
    return ""


def _has_option(words: Sequence[str], name: str) -> bool:
    return any(word == name or word.startswith(f"{name}=") for word in words)


def _number(words: Sequence[str], option: str, default: float | None) -> float | None:
    """Return an option's number; None where its value only the shell knows."""
    found: str | None = None
    for number, word in enumerate(words):
        if option and word == option and number + 1 < len(words):
            found = words[number + 1]
        elif option and word.startswith(f"{option}="):
            found = word.partition("=")[2]
    if found is None:
        return default
    return float(found) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", found) else None
