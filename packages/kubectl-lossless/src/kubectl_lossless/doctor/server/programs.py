"""Known servers, by their command lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kubectl_lossless.doctor.server.command_line import after_python_options, program
from kubectl_lossless.doctor.server.kinds import KINDS
from kubectl_lossless.doctor.server.workers import WORKERS

HANDLES_SIGTERM = {
    *("aiohttp.web", "sanic", "twisted", "quart", "streamlit", "jupyter", "jupyterlab", "notebook"),
    *("jupyterhub", "datasette", "vllm", "sglang", "llama_cpp", "prefect", "airflow", "bentoml"),
    *("chainlit", "panel", "bokeh", "supervisor", "honcho", "locust"),
}
"""Modules of Python that install a handler for SIGTERM, and packages whose programs all do."""


def server_name(words: Sequence[str]) -> str:  # noqa: PLR0911 - a table of command lines
    """Return the key of what a command line serves with: one of KINDS, "gunicorn", or ""."""
    if not words:
        return ""
    name = Path(words[0]).name
    if re.fullmatch(r"python[0-9.]*", name):
        return _python_program(after_python_options(words[1:]))
    if name in ("manage.py", "django-admin"):
        return "runserver" if {"runserver", "runserver_plus"} & set(words) else ""
    if name == "php":
        return "php" if words[1:2] == ["-S"] or words[1:3] == ["artisan", "serve"] else ""
    if name == "litestar":
        return "litestar" if "run" in words else ""
    if name == "flask":
        return "flask" if "run" in words else ""
    if name == "fastapi":
        return "fastapi" if words[1:2] in (["run"], ["dev"]) else ""
    if name in ("gunicorn", "waitress-serve") or (name in KINDS and name != "python"):
        return name
    return "python" if name.endswith(".py") else ""


def _python_program(rest: list[str]) -> str:  # noqa: PLR0911 - a table
    if rest[:1] == ["-m"] and len(rest) > 1:
        module = rest[1].removesuffix(".__main__").removesuffix(".app.wsgiapp")
        known = {"waitress": "waitress-serve", "http.server": "http.server", "gunicorn": "gunicorn"}
        if module in known:
            return known[module]
        if module == "flask":
            return "flask" if "run" in rest else ""
        if module in KINDS:
            return module
        return "" if {module, module.partition(".")[0]} & (HANDLES_SIGTERM | WORKERS) else "python"
    if not rest or rest[0] == "-c":
        return ""
    if Path(rest[0]).name == "manage.py":
        return "runserver" if {"runserver", "runserver_plus"} & set(rest) else ""
    if Path(rest[0]).name in ("gunicorn", *KINDS):
        return Path(rest[0]).name
    return "python" if rest[0].endswith(".py") else ""


def is_for_production(name: str) -> bool:
    """Return whether a name is a server's for production; a Python program may be anything."""
    return name not in ("", "python") and not (name in KINDS and KINDS[name].development)


def serves(words: Sequence[str]) -> bool:
    """Return whether a command line is a known server's; a Python program may be anything."""
    return server_name(program(words)) not in ("", "python")
