"""Variables of the environment that look like settings and have no effect."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from app.settings import ALIASES, NAMES, RENAMED, Settings
from gunicorn_drain.policy import SWITCH

INJECTED = re.compile(
    r"[A-Z0-9_]+_SERVICE_HOST"
    r"|[A-Z0-9_]+_SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|[A-Z0-9_]+_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)
"""Names of variables that Kubernetes creates for each Service of the namespace (`enableServiceLinks`)."""

INJECTED_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
"""Value of the one variable, NAME_PORT, whose name alone does not show that Kubernetes has created it."""

TYPO_RATIO = 0.9
"""Similarity from which an unknown variable is reported as a likely typo, as difflib measures it."""

DRAIN_TYPO_RATIO = 0.75
"""TYPO_RATIO of variables that begin with DRAIN_, of which hardly any is meant for another program."""


def notices(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting and has no effect, and for old names."""
    found = []
    if (old := environ.get("WORKER_CLASS", "")) in RENAMED:
        found.append(f"WORKER_CLASS is {old}; its name is {RENAMED[old]} now, which applies")
    for setting in NAMES:
        default, alias = _shown(getattr(Settings, setting.lower())), ALIASES.get(setting, "")
        if environ.get(setting) == "":
            if environ.get(alias):
                found.append(f"{setting} is empty and has no effect; {alias} applies, {environ[alias]}")
            else:
                found.append(f"{setting} is empty and has no effect; its default applies, {default}")
        elif environ.get(alias) and setting in environ and environ[alias] != environ[setting]:
            found.append(
                f"{alias} is {environ[alias]!r} and has no effect; {setting} applies, {environ[setting]}"
            )
    for name in sorted(set(environ) - set(NAMES) - set(ALIASES.values())):
        if not _is_injected(name, environ[name]) and (sentence := _typo(name)) is not None:
            found.append(sentence)
    return found


def _is_injected(name: str, value: str) -> bool:
    """Return whether Kubernetes creates this variable, in every container, for a Service of the namespace."""
    if INJECTED.fullmatch(name):
        return True
    return name.endswith("_PORT") and INJECTED_ADDRESS.fullmatch(value) is not None


def _typo(name: str) -> str | None:
    """Return a sentence about a variable that is probably a misspelt setting, None for all others."""
    canonical = re.sub("[^A-Z0-9]+", "_", name.upper())
    of_drain = canonical.startswith("DRAIN_")
    like = difflib.get_close_matches(
        canonical, NAMES, n=1, cutoff=DRAIN_TYPO_RATIO if of_drain else TYPO_RATIO
    )
    if like:
        return f"{name} is not a setting and has no effect; {like[0]} may be meant"
    if of_drain:
        known = ", ".join(each for each in NAMES if each.startswith("DRAIN"))
        return f"{name} is not a setting and has no effect; the settings of the drain are {known}"
    return None


def _shown(value: object) -> str:
    """Return a setting's value as it is written in the environment."""
    if isinstance(value, bool):
        return next(text for text, meaning in SWITCH.items() if meaning is value)
    return f"{value:g}" if isinstance(value, float) else str(value)
