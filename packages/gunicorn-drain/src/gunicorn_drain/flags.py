"""Gunicorn's own flags, which take precedence over the service's settings.

Gunicorn applies them after gunicorn.conf.py, which needs some of them earlier: the number of threads, for
example, depends on the worker class.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gunicorn.config import Config, validate_list_string

from gunicorn_drain.callers import configuration_is_read

ARGUMENTS = "GUNICORN_CMD_ARGS"
"""Environment variable from which Gunicorn reads flags; flags of the command line take precedence."""


def given(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the flags that are set, by the names of Gunicorn's settings.

    `arguments`: the command line, by default this process's. Gunicorn has parsed both before it reads its
    configuration file, so neither can be malformed here; a program that starts Gunicorn in its own process
    has no such file, and its arguments are not Gunicorn's.
    """
    if arguments is None and not configuration_is_read():
        return {}
    parser = Config().parser()
    flags: dict[str, Any] = {}
    for words in (shlex.split(environ.get(ARGUMENTS, "")), sys.argv[1:] if arguments is None else arguments):
        parsed, _ = parser.parse_known_args(words)
        flags |= {name: value for name, value in vars(parsed).items() if value is not None and name != "args"}
    return flags


def environment(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return `environ` with the variables of `--env`, which Gunicorn sets only after its configuration.

    `flags`: by the names of Gunicorn's settings, so it may be the configuration file's globals() as well.
    """
    pairs = (text.partition("=") for text in validate_list_string(flags.get("raw_env")))
    return {**environ, **{name: value for name, _, value in pairs}}
