"""Variables of the environment that look like settings and have no effect."""

from __future__ import annotations

from collections.abc import Mapping

from app.settings import ALIASES, NAMES, RENAMED, Settings
from gunicorn_drain.policy import SWITCH
from gunicorn_drain.variables import misspelt


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
    return found + misspelt(environ, NAMES)


def _shown(value: object) -> str:
    """Return a setting's value as it is written in the environment."""
    if isinstance(value, bool):
        return next(text for text, meaning in SWITCH.items() if meaning is value)
    return f"{value:g}" if isinstance(value, float) else str(value)
