"""Variables of the environment that look like settings and are none: misspelt, or injected by a platform."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

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

PREFIX = "DRAIN_"
"""Beginning of the names of variables of which hardly any is meant for another program."""

PREFIX_TYPO_RATIO = 0.75
"""TYPO_RATIO of variables that begin with PREFIX; the others of them are reported, too."""


def misspelt(environ: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """Return a sentence for each variable of `environ` that is probably meant as one of `settings`."""
    unknown = sorted(set(environ).difference(settings))
    sentences = (_sentence(name, settings) for name in unknown if not _is_injected(name, environ[name]))
    return [each for each in sentences if each is not None]


def _is_injected(name: str, value: str) -> bool:
    """Return whether Kubernetes creates this variable, in every container, for a Service of the namespace."""
    if INJECTED.fullmatch(name):
        return True
    return name.endswith("_PORT") and INJECTED_ADDRESS.fullmatch(value) is not None


def _sentence(name: str, settings: Collection[str]) -> str | None:
    canonical = re.sub("[^A-Z0-9]+", "_", name.upper())
    of_drain = canonical.startswith(PREFIX)
    ratio = PREFIX_TYPO_RATIO if of_drain else TYPO_RATIO
    if like := difflib.get_close_matches(canonical, settings, n=1, cutoff=ratio):
        return f"{name} is not a setting and has no effect; {like[0]} may be meant"
    if not of_drain:
        return None
    known = ", ".join(each for each in settings if each.startswith(PREFIX.rstrip("_")))
    return f"{name} is not a setting and has no effect; the settings of the drain are {known}"
