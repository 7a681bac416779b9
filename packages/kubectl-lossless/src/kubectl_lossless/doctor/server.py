"""Known facts of a container's server, from its command line and its environment.

What each server does at SIGTERM was measured with a request in flight for 3 s and an idle kept connection,
on loopback with defaults: uvicorn, hypercorn, granian and Gunicorn finish the request; daphne, waitress and
uWSGI drop it; a bare Python program, `flask run` and `http.server` have no handler, so as PID 1 they ignore
SIGTERM and are killed at the end of the grace period.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path

from gunicorn.config import Config

from kubectl_lossless.doctor import own
from kubectl_lossless.doctor.configuration import Configuration
from kubectl_lossless.doctor.shell.commands import TRIVIAL
from kubectl_lossless.doctor.shell.outcome import End, Outcome, outcome
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import ASSIGNMENT, Shell, ShellError

INITS = {"tini", "tini-static", "dumb-init", "catatonit", "docker-init", "s6-svscan", "pid1"}
"""Programs made to be PID 1, which pass signals on to the one program they start."""

SHELLS = {
    "sh": Shell.DASH,  # in Debian's images, so in python:3 and most others; `sh_of` knows the rest
    "dash": Shell.DASH,
    "bash": Shell.BASH,
    "ash": Shell.BUSYBOX,
    "ksh": Shell.OTHER,
    "zsh": Shell.OTHER,
}

WITH_BUSYBOX = re.compile(r"alpine|busybox")
WITH_BASH = re.compile(
    r"(^|[-_/:.])(ubi|rhel|centos|rocky|rockylinux|almalinux|fedora|amazonlinux|amazoncorretto|oraclelinux|opensuse"
    r"|archlinux)[0-9]*($|[-_/:.@])|^registry(\.access)?\.redhat\.(com|io)/"
)
"""Images whose sh is that of BusyBox, and those whose sh is bash."""

WITH_DASH = re.compile(
    r"(docker\.io/)?(library/)?((python|node|debian|ubuntu|nginx|php|ruby|perl|httpd)($|[:@])"
    r"|\S+[:-](slim-)?(bookworm|bullseye|buster|jammy|focal|noble)\b)"
)
"""Images that are known to be Debian's or Ubuntu's, which have bash too."""


def sh_of(image: str) -> Shell:
    """Return the shell that an image has as sh, Debian's where nothing shows another."""
    if WITH_BUSYBOX.search(image):
        return Shell.BUSYBOX
    return Shell.BASH if WITH_BASH.search(image) else Shell.DASH


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

WRAPPERS = {
    "npm": "npm starts the script through a shell and stays in front of both",
    "yarn": "yarn stays in front of the script that it starts",
    "pnpm": "pnpm stays in front of the script that it starts",
    **dict.fromkeys(("mvn", "mvnw"), "Maven stays in front of the program that it starts"),
    **dict.fromkeys(("gradle", "gradlew"), "Gradle stays in front of the program that it starts"),
    "conda": "`conda run` stays in front of the program that it starts and does not pass SIGTERM on",
    "mamba": "`mamba run` stays in front of the program that it starts and does not pass SIGTERM on",
    "micromamba": "`micromamba run` stays in front of the program that it starts",
    "npx": "npx starts the program through a shell and stays in front of both",
    "xvfb-run": "xvfb-run, a script, stays in front of the program and does not pass SIGTERM on",
    "go run": "`go run` stays in front of the program that it builds and does not pass SIGTERM on",
}
"""Programs that stay in front of the server and do not pass SIGTERM on to it."""

SUPERVISORS = {
    "supervisord": (
        "SIGTERM on, and kills after 10 s",
        "stopwaitsecs of its program section, longer than requests take",
    ),
    "foreman": ("SIGTERM on, and kills after 5 s", "--timeout, longer than requests take"),
    "honcho": ("SIGTERM on, and kills after 5 s", "the server itself as the command, in a container each"),
    "pm2-runtime": (
        "SIGINT in place of SIGTERM on, and kills after 1.6 s",
        "kill_timeout in its process file, longer than requests take",
    ),
    "su": ("SIGTERM on, and kills after 2 s", "gosu, su-exec or setpriv in place of su, or runAsUser"),
    "runuser": ("SIGTERM on, and kills after 2 s", "gosu or setpriv in place of runuser, or runAsUser"),
    "pm2": (
        "SIGINT in place of SIGTERM on, and kills after 1.6 s",
        "kill_timeout in its process file, longer than requests take",
    ),
}
"""Programs that pass a signal on and have a stop timeout of their own; and where that is set."""

RELOADERS = {
    "node --watch",
    "bun --watch",
    "bun --hot",
    "tsx watch",
    "nodemon",
    "ts-node-dev",
    "tsnd",
    "watchmedo",
    "watchexec",
    "watchfiles",
    "reflex",
    "air",
    "dotnet watch",
    "entr",
    "uvicorn-hmr",
}
"""Programs that start a server again whenever a file changes."""

DEVELOPMENT = {
    *("vite", "vite dev", "vite serve", "next dev", "nuxt dev", "nuxi dev", "astro dev", "ng serve"),
    *("webpack serve", "webpack-dev-server", "react-scripts start", "gatsby develop", "remix dev"),
}
"""Development servers of JavaScript, which build again and reload whenever a file changes."""

RELOADERS |= DEVELOPMENT

SUBCOMMANDS = {each for each in [*RELOADERS, *WRAPPERS, "vite preview"] if " " in each}
"""Names that are a program's and its first argument's."""

WORKERS = {
    *("celery", "rq", "rqworker", "huey_consumer", "huey_consumer.py", "dramatiq", "arq", "procrastinate"),
    *("faust", "beat", "flower_worker", "sidekiq", "airflow-scheduler"),
    *("good_job", "delayed_job", "resque", "shoryuken", "karafka", "que", "solid_queue", "faktory-worker"),
}
"""Programs that take their work from a queue and serve no requests."""

WORKER_COMMANDS = {
    *("qcluster", "rqworker", "celery", "celeryd", "runworker", "process_tasks", "db_worker", "run_huey"),
    "rundramatiq",
}
"""manage.py's commands of that kind."""

WORKER_TASKS = re.compile(
    r"(jobs:work|resque:work(ers?)?|solid_queue:start|que:work|queue:(work|listen)|horizon|schedule:work)(\[.*)?"
)
"""Tasks of rake, rails and artisan of that kind."""

DATABASES = re.compile(
    r"(^|[-_/])(mysql|mariadb|percona|postgres|postgresql|postgis|timescaledb|mongo|mongodb|redis|valkey|keydb|memcached"
    r"|rabbitmq|kafka|zookeeper|etcd|elasticsearch|opensearch|clickhouse|clickhouse-server|influxdb|cassandra|minio|nats"
    r"|neo4j|couchdb|couchbase|consul|vault|registry)($|[-_:.@/])"
)
"""Images and programs that keep data and have one writer each."""

DATABASE_PORTS = {1433, 1521, 2181, 3306, 5432, 5672, 6379, 9042, 9092, 11211, 26257, 27017}
"""Ports of databases and queues, whatever their image is called."""

DEFAULT_FILE = "gunicorn.conf.py"
"""Gunicorn's configuration file in its working directory, where no other is named."""

DEFAULTS = Config()
"""Gunicorn's own defaults, with which it runs where neither its command line nor its file sets another."""

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

HANDLES_SIGTERM = {
    *("aiohttp.web", "sanic", "twisted", "quart", "streamlit", "jupyter", "jupyterlab", "notebook"),
    *("jupyterhub", "datasette", "vllm", "sglang", "llama_cpp", "prefect", "airflow", "bentoml"),
    *("chainlit", "panel", "bokeh", "supervisor", "honcho", "locust"),
}
"""Modules of Python that install a handler for SIGTERM, and packages whose programs all do."""

OWN_NAME = "this service"


@dataclass(frozen=True)
class Kind:
    """Behaviour of a server at SIGTERM, and its keep-alive timeout."""

    name: str
    keepalive: float | None
    """Seconds, by default; None where it is not known."""
    keepalive_option: str = ""
    graceful_option: str = ""
    max_requests_option: str = ""
    graceful: float | None = None
    """Seconds that requests in flight get; None where there is no limit."""
    drops_in_flight: bool = False
    announces_close: bool = False
    """True where it sends `Connection: close` while it stops."""
    development: bool = False
    ignores_sigterm: bool = False
    """As PID 1, since it installs no handler."""
    variables: str = ""
    """Prefix of the environment variables that it reads its options from, "" where it reads none."""
    signals: tuple[str, ...] = ("SIGTERM",)
    """Signals at which it finishes the requests in flight and exits."""
    quick: tuple[str, ...] = ("SIGINT",)
    """Signals at which it exits without finishing them."""
    file_options: tuple[str, ...] = ()
    """Options that name a configuration file, where it has settings that cannot be seen from here."""
    instead: str = "a production server such as Gunicorn, Uvicorn or Granian"
    """Server to use in its place."""


BOTH = ("SIGTERM", "SIGINT")
UVICORN = Kind(
    "Uvicorn",
    5,
    "--timeout-keep-alive",
    "--timeout-graceful-shutdown",
    "--limit-max-requests",
    variables="UVICORN_",
    signals=BOTH,
    quick=(),
)
PHP = Kind(
    "PHP's development server", None, development=True, ignores_sigterm=True, instead="PHP-FPM or FrankenPHP"
)
KINDS: dict[str, Kind] = {
    "uvicorn": UVICORN,
    "fastapi": replace(UVICORN, max_requests_option="", variables=""),
    "litestar": replace(
        UVICORN, keepalive_option="", graceful_option="", max_requests_option="", variables=""
    ),
    "hypercorn": Kind(
        "Hypercorn",
        5,
        "--keep-alive",
        "--graceful-timeout",
        graceful=3,
        signals=BOTH,
        quick=(),
        file_options=("-c", "--config"),
    ),
    "granian": Kind("Granian", None, announces_close=True, variables="GRANIAN_", signals=BOTH, quick=()),
    "daphne": Kind("Daphne", None, drops_in_flight=True),
    "waitress-serve": Kind("Waitress", 120, drops_in_flight=True, ignores_sigterm=True),
    "uwsgi": Kind("uWSGI", None, drops_in_flight=True, variables="UWSGI_", quick=("SIGINT", "SIGQUIT")),
    "unicorn": Kind("Unicorn", 0, signals=("SIGQUIT",), quick=BOTH),
    "nginx": Kind("nginx", 75, signals=("SIGQUIT",), quick=BOTH),
    "php": PHP,
    "runserver": Kind("Django's development server", None, development=True, ignores_sigterm=True),
    "flask": Kind("Flask's development server", None, development=True, ignores_sigterm=True),
    "http.server": Kind("Python's http.server", None, development=True, ignores_sigterm=True),
    "python": Kind("A Python program", None, ignores_sigterm=True),
}


SPRING = Kind("Spring Boot", None, signals=BOTH, quick=())
COREDNS = Kind("CoreDNS", None, signals=BOTH, quick=())
LAMEDUCK = re.compile(r"(?m)^\s*lameduck\s+(\S+)")
"""Setting of a Corefile for how long CoreDNS still responds after SIGTERM."""

ISTIO = Kind("istio-proxy", None)
ISTIO_DRAIN = 5.0
"""Seconds for which istio-proxy drains by default (terminationDrainDuration)."""

TRAEFIK = Kind("Traefik", 180, signals=BOTH, quick=())
JAVA_OPTIONS = ("JAVA_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_ARGS", "JAVA_OPTIONS")
"""Environment variables with options of a Java program."""

GUNICORN = Kind("Gunicorn", None, "--keep-alive", quick=("SIGINT", "SIGQUIT"))
"""Gunicorn at a signal; all else of it is in its settings."""


@dataclass(frozen=True)
class Server:
    """Server of a container. None: not known."""

    name: str = ""
    """OWN_NAME, "Gunicorn", a Kind's name, or "" where nothing shows it."""
    drain: float | None = None
    """Seconds that its own drain lasts at most; 0 where it has none."""
    graceful: float | None = None
    """Seconds it then gives requests in flight."""
    keepalive: float | None = None
    """Seconds for which it keeps an idle connection; 0 closes after each response, and announces that."""
    max_requests: int | None = None
    setting: str = ""
    """Field with its settings: "env" or "args"."""
    file: str = ""
    """A configuration file that it reads and that cannot be seen from here."""
    wrong: tuple[str, ...] = ()
    """Errors in its settings, with which it does not start."""
    ignored: tuple[str, ...] = ()
    """Settings that have no effect."""
    kind: Kind | None = None
    reloads: bool = False
    """True where it restarts when a file changes, a setting for development."""
    stop_file: str = ""
    """A configuration file that may say whether it stops at SIGTERM, "" where none may."""
    signal: str = ""
    """Signal that its stopSignal names, "" where it has none and the image decides."""
    better_signal: str = ""
    """Signal at which it would finish its requests, where `signal` is another one."""

    @property
    def stop_signal(self) -> str:
        """Signal that it is taken to get."""
        return self.signal or "SIGTERM"


@dataclass(frozen=True)
class Start:
    """A container's command line, with wrappers and shells taken off."""

    words: Sequence[str]
    """Command and arguments, as the container has them."""
    sh: Shell = Shell.DASH
    """The shell that is called sh in its image."""
    shared: bool = False
    """True where the pod's containers share their process namespace, or have the node's."""
    files: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Texts of the files in the container that are known, by their paths."""

    @cached_property
    def behind_init(self) -> bool:
        """True where another program is PID 1, so that SIGTERM ends a program without a handler."""
        first = Path(self.words[0]).name if self.words else ""
        return self.shared or first in INITS or (first == "uv" and "run" in self.words[1:2])

    @cached_property
    def program(self) -> list[str]:
        """The command line behind inits and whatever execs the rest."""
        return program(self.words)

    @cached_property
    def shell(self) -> Shell | None:
        """The shell that is started, if one is."""
        name = Path(self.program[0]).name if self.program else ""
        if self.program and self.program[0] in self.files:
            line = re.match(r"#!\s*(?:/usr/bin/env\s+(?:-\S+\s+)?)?(\S+)", self.files[self.program[0]])
            name = Path(line[1]).name if line else "sh"
        found = SHELLS.get(name)
        return self.sh if name == "sh" else found

    @cached_property
    def script_file(self) -> str:
        """The path of the script that a shell reads from a known file; "" where it reads none."""
        if self.shell is None or self.script_index is not None:
            return ""
        if self.program[0] in self.files:
            return self.program[0]
        named = next((word for word in self.program[1:] if not word.startswith("-")), "")
        return named if named in self.files else ""

    @cached_property
    def script_index(self) -> int | None:
        """Index among `words` of the script behind the shell's -c."""
        if self.shell is None:
            return None
        offset = len(self.words) - len(self.program)
        for number, word in enumerate(self.program[1:-1], 1):
            if re.fullmatch(r"-[a-z]*c[a-z]*", word):
                # Options may stand between -c and the script.
                taken = number + 1 if "o" in word else number  # -euo takes the next word, as in `pipefail`
                at = next(
                    (
                        at
                        for at in range(taken + 1, len(self.program))
                        if not self.program[at].startswith("-")
                    ),
                    None,
                )
                return None if at is None else offset + at
            if not word.startswith("-") and not _takes_value(self.program[number - 1]):
                break
        return None

    @cached_property
    def script(self) -> str | None:
        """The script that a shell is given with -c, or reads from a known file."""
        if self.script_file:
            return self.files[self.script_file]
        return None if self.script_index is None else self.words[self.script_index]

    @cached_property
    def outcome(self) -> Outcome | None:
        """Outcome of that shell."""
        if self.script is None or self.shell is None:
            return None
        return outcome(self.script, self.shell, _works, serves)

    @cached_property
    def serving(self) -> list[str]:
        """The command line of the program that serves, as far as it is known."""
        if self.script is None:
            return _behind_entrypoint(self.program)
        # Of several, as in `if` and `else`, one for production; else the last, which all others come before.
        production = [words for words in self.commands if _is_for_production(_server_name(words))]
        others = [words for words in self.commands if words[0] not in TRIVIAL and not _works(words)]
        chosen = production[:1] or others[-1:] or self.commands[-1:]
        return chosen[0] if chosen else []

    @cached_property
    def commands(self) -> list[list[str]]:
        """The command lines in the script, exec and wrappers taken off."""
        if self.script is None:
            return [self.program]
        try:
            script = parse(self.script, self.shell or Shell.OTHER)
        except (ShellError, RecursionError):
            return []
        return [
            words
            for command, _ in script.commands()
            if command.words
            and (words := program(self._with_arguments([each.text for each in command.words])))
        ]

    def _with_arguments(self, words: list[str]) -> list[str]:
        """Return a command of the script with the arguments behind the script, its $0 and $@."""
        if self.script_file:
            at = list(self.words).index(self.script_file)
            name, *rest = self.words[at:]
        else:
            name, *rest = self.words[(self.script_index or 0) + 1 :] or ("",)
        found: list[str] = []
        for word in words:
            if word in ("$@", "$*", "${@}", "${*}"):
                found += rest
            else:
                found.append(name if name and word in ("$0", "${0}") else word)
        return found or words


def _behind_entrypoint(words: list[str]) -> list[str]:
    """Return the known server's command line that an entrypoint script gets as its arguments, else all.

    Such a script ends with `exec "$@"`: `/entrypoint.sh gunicorn app:app`.
    """
    if "--" in words and not _server_name(words) and serves(words[words.index("--") + 1 :]):
        return words[words.index("--") + 1 :]  # of a program that starts what it is given
    script = words[1:] if words and Path(words[0]).name in SHELLS else words
    if script and script[0].endswith(("entrypoint", ".sh")) and serves(script[1:]):
        return script[1:]
    return words


def _takes_value(word: str) -> bool:
    """Return whether a shell's option takes the next word, as -o and -eo do."""
    return bool(re.fullmatch(r"[-+][a-z]*o|--rcfile|--init-file", word))


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


def cannot_start(start: Start) -> str:
    """Return why a container's command line cannot run its server; "" where nothing shows that."""
    first = start.words[0] if start.words else ""
    if re.search(r"\S\s+\S", first) and "\\" not in first and not first.endswith(".exe"):
        return f"no program is called {first!r}: each word is an entry of its own, or `sh -c` reads them"
    if start.shell is not None:
        return ""
    joins = next((word for word in start.program[1:] if word in ("&&", "||")), "")
    if joins and not start.program[0].endswith((".sh", "entrypoint")):
        return f"{joins} is an argument of {Path(start.program[0]).name}, and no shell reads it"
    if _server_name(start.serving) == "gunicorn" and {"-D", "--daemon"} & set(start.serving):
        return "--daemon puts Gunicorn in the background, and the container ends with its first process"
    return ""


def _server_name(words: Sequence[str]) -> str:  # noqa: PLR0911 - a table of command lines
    """Return the key of what a command line serves with: one of KINDS, "gunicorn", or ""."""
    if not words:
        return ""
    name = Path(words[0]).name
    if re.fullmatch(r"python[0-9.]*", name):
        return _python_program(_after_python_options(words[1:]))
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


def _is_for_production(name: str) -> bool:
    """Return whether a name is a server's for production; a Python program may be anything."""
    return name not in ("", "python") and not (name in KINDS and KINDS[name].development)


def _after_python_options(words: Sequence[str]) -> list[str]:
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


def serves(words: Sequence[str]) -> bool:
    """Return whether a command line is a known server's; a Python program may be anything."""
    return _server_name(program(words)) not in ("", "python")


def takes_work_from_a_queue(start: Start) -> bool:
    """Return whether the command is a worker's or a scheduler's, which serves no requests."""
    return any(map(_works, start.commands))


def _works(words: Sequence[str]) -> bool:
    """Return whether a command line is a worker's or a scheduler's."""
    rest = program(words)
    if rest and re.fullmatch(r"python[0-9.]*", Path(rest[0]).name):
        rest = _after_python_options(rest[1:])
        if rest[:1] == ["-m"]:
            rest = rest[1:]
    if not rest:
        return False
    name = Path(rest[0]).name
    if name in ("rake", "rails", "php"):
        return any(WORKER_TASKS.fullmatch(each) for each in rest[1:])
    return (
        (name in WORKERS and "flower" not in rest)
        or (name in ("manage.py", "django-admin") and bool(WORKER_COMMANDS & set(rest[1:2])))
        or (
            name == "airflow" and bool(set(rest[1:2]) & {"scheduler", "triggerer", "celery", "dag-processor"})
        )
    )


def wrapper(start: Start) -> str:
    """Return why the program that is started stays in front of the server; "" where none does."""
    return WRAPPERS.get(first_program(start), "")


def stays_in_front(words: Sequence[str]) -> bool:
    """Return whether a command line is that of a program that starts the server and stays in front of it."""
    rest = program(words)
    return bool(rest) and Path(rest[0]).name in WRAPPERS.keys() | SUPERVISORS.keys()


def first_program(start: Start) -> str:
    """Return the name of the program that is PID 1, or that a script has exec'd; "" where a shell is."""
    if start.script is not None:
        replaced = start.outcome is not None and start.outcome.end is End.REPLACED
        words = start.commands[-1] if replaced and start.commands else []
    else:
        words = start.program
    if not words:
        return ""
    name = Path(words[0]).name
    if name == "su" and start.sh is Shell.BUSYBOX:
        return ""  # BusyBox's execs the shell
    both = " ".join([name, *words[1:2]])
    return both if both in SUBCOMMANDS else name


def known(
    start: Start,
    environment: Mapping[str, str],
    image: str = "",
    configuration: Configuration | None = None,
) -> Server:
    """Return what can be known of the server from the command line, the environment and the image.

    `configuration`: Gunicorn's file, where it was seen.
    """
    words = start.serving
    name = _server_name(words) or ("" if words else _by_image(image))
    found = _gunicorn(words, environment, configuration) if name == "gunicorn" else None
    if found is not None and found.file == own.PACKAGE:
        return _with_drain(found, environment, own.OF_PACKAGE)
    if found is not None and configuration is not None and configuration.installs:
        return _with_install(found, configuration, environment)
    if own.is_own(environment, name == "gunicorn"):
        return _own(environment)
    if name in KINDS:
        return _other(KINDS[name], words, start, environment)
    if not name and "GUNICORN_CMD_ARGS" in environment:
        found = _gunicorn(words, environment, configuration)
    return (
        found
        or _spring(words, environment)
        or _traefik(words, environment, image)
        or _coredns(start, image)
        or Server()
    )


def _spring(words: Sequence[str], environment: Mapping[str, str]) -> Server | None:
    """Return Spring Boot's server, which its settings for the shutdown show; None without one of them."""
    line = " ".join([*words, *(environment.get(each, "") for each in JAVA_OPTIONS)])

    def setting(name: str) -> str:
        found = re.search(rf"(?:-D|--){re.escape(name)}=(\S+)", line)
        variable = name.upper().replace(".", "_").replace("-", "_")
        return (
            found[1]
            if found
            else environment.get(
                variable, environment.get(variable.replace("PER_SHUTDOWN_PHASE", "PERSHUTDOWNPHASE"), "")
            )
        )

    shutdown = setting("server.shutdown").lower()
    if shutdown not in ("graceful", "immediate"):
        return None
    phase = seconds_of(setting("spring.lifecycle.timeout-per-shutdown-phase") or "30s", unit=0.001)
    kind = replace(SPRING, drops_in_flight=shutdown == "immediate")
    return Server(
        kind.name,
        drain=0.0,
        graceful=None if shutdown == "immediate" else phase,
        max_requests=0,
        setting="env",
        kind=kind,
    )


def _traefik(words: Sequence[str], environment: Mapping[str, str], image: str) -> Server | None:
    """Return Traefik with the drain of its entry points; None where a file may have its settings."""
    if "traefik" not in (_image_name(image), Path(words[0]).name if words else ""):
        return None
    options = [word.lower() for word in words if word.startswith("--")]
    options += [
        f"--{name[8:].lower().replace('_', '.')}={value}"
        for name, value in environment.items()
        if name.startswith("TRAEFIK_")
    ]
    entries = [each for each in options if each.startswith("--entrypoints.")]
    if not entries or any(each.startswith("--configfile") for each in options):
        return None
    drains = [seconds_of(each.partition("=")[2]) for each in entries if ".requestacceptgracetimeout=" in each]
    drain = min((each for each in drains if each is not None), default=0.0)
    graceful = [seconds_of(each.partition("=")[2]) for each in entries if ".lifecycle.gracetimeout=" in each]
    return Server(
        TRAEFIK.name,
        drain=None if None in drains else drain,
        graceful=max((each for each in graceful if each is not None), default=10.0),
        keepalive=TRAEFIK.keepalive,
        max_requests=0,
        setting="args",
        kind=TRAEFIK,
    )


def of_istio(environment: Mapping[str, str]) -> Server:
    """Return istio-proxy, whose agent drains Envoy before it ends it."""
    duration = seconds_of(environment.get("TERMINATION_DRAIN_DURATION_SECONDS", "")) or ISTIO_DRAIN
    return Server(
        ISTIO.name, drain=duration, graceful=0.0, keepalive=None, max_requests=0, setting="env", kind=ISTIO
    )


def _coredns(start: Start, image: str) -> Server | None:
    """Return CoreDNS with the lameduck of a known Corefile; None where it has none or is another program."""
    found = [seconds_of(each) for text in start.files.values() for each in LAMEDUCK.findall(text)]
    if _image_name(image) != "coredns" or not found:
        return None
    return Server(COREDNS.name, drain=found[0], graceful=None, max_requests=0, setting="args", kind=COREDNS)


def seconds_of(text: str, unit: float = 1.0) -> float | None:
    """Return a duration such as 20s, 1m30s, 500ms or PT20S in seconds; `unit` is that of a number alone."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text) * unit
    found = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", text.lower().removeprefix("pt"))
    if not found or "".join(map("".join, found)) != text.lower().removeprefix("pt"):
        return None
    return sum(float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[each] for number, each in found)


def with_signal(server: Server, signal: str) -> Server:
    """Return the server as it is at the signal that its container's stopSignal names, "" for none."""
    if not signal:
        return server
    kind = server.kind or (GUNICORN if server.name in (GUNICORN.name, OWN_NAME) else None)
    server = replace(server, signal=signal)
    if kind is None:
        return replace(server, drain=0.0 if signal == "SIGKILL" and server.drain else server.drain)
    if signal == kind.signals[0] or signal in kind.signals:
        return server
    finishes = not (kind.drops_in_flight or kind.ignores_sigterm)
    quick = signal == "SIGKILL" or signal in kind.quick
    return replace(
        server,
        drain=0.0 if server.drain else server.drain,
        kind=replace(kind, ignores_sigterm=not quick, drops_in_flight=quick),
        stop_file="",
        better_signal=kind.signals[0] if finishes else "",
    )


def _by_image(image: str) -> str:
    """Return what an image of that name starts without a command."""
    return "nginx" if _image_name(image) in ("nginx", "nginx-unprivileged") else ""


def _image_name(image: str) -> str:
    return Path(image.split("@", maxsplit=1)[0]).name.split(":")[0]


def overridden(
    server: Server, drain: float | None, graceful: float | None, keepalive: float | None
) -> Server:
    """Return the server with what the user of the doctor knows of it."""
    if drain is not None:
        server = replace(server, drain=drain)
    if graceful is not None:
        server = replace(server, graceful=graceful)
    if keepalive is not None:
        server = replace(server, keepalive=keepalive)
    return server


def _other(kind: Kind, words: Sequence[str], start: Start, environment: Mapping[str, str]) -> Server:
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
        stop_file = _uwsgi_file(words, variables)
        said = start.files.get(stop_file)
        stops = said is not None and bool(DIE_ON_TERM.search(said))
        stop_file = "" if said is not None else stop_file
        kind = replace(kind, ignores_sigterm=not (stop_file or stops))
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


def _uwsgi_file(words: Sequence[str], variables: Mapping[str, str]) -> str:
    """Return the configuration file that uWSGI reads; "" where none is named."""
    named = [
        word.partition("=")[2] or word
        for word in words[1:]
        if re.search(r"\.(ini|ya?ml|xml|json)$", word) or word.startswith("--emperor")
    ]
    return next(
        iter([*named, *(variables[each] for each in ("--ini", "--yaml", "--emperor") if each in variables)]),
        "",
    )


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


def _with_drain(server: Server, environment: Mapping[str, str], more: Sequence[str] = ()) -> Server:
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


def _with_install(server: Server, configuration: Configuration, environment: Mapping[str, str]) -> Server:
    """Return Gunicorn whose configuration file calls gunicorn-drain's install()."""
    if configuration.policy is None and configuration.is_complete:
        return _with_drain(server, environment)
    if configuration.policy is None:
        return replace(server, drain=None)
    return replace(server, drain=float(configuration.policy), file="")


def with_readiness(server: Server, response: str) -> Server:
    """Return the server with the drain that its response to the readiness probe reports."""
    maximum = own.maximum_of(response)
    if maximum is None or server.name not in ("", "Gunicorn", "A Python program"):
        return server
    # Behind a script nothing else is known of Gunicorn.
    kind = None if server.name != "Gunicorn" else server.kind
    return replace(server, name="Gunicorn", drain=maximum, kind=kind)


def configuration_file(start: Start, environment: Mapping[str, str]) -> str:
    """Return the path of Gunicorn's configuration file in the container; "" where there is none to read."""
    if _server_name(start.serving) != "gunicorn":
        return ""
    found = _gunicorn(start.serving, environment)
    path = (found.file or DEFAULT_FILE).removeprefix("file:")
    if path.startswith("python:"):
        return ""
    return path if path.startswith("/") else f"/proc/1/cwd/{path.removeprefix('./')}"


def _own(environment: Mapping[str, str]) -> Server:
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


OPTIONS = {flag: name for name, setting in DEFAULTS.settings.items() for flag in setting.cli or ()}
FLAGS = {
    name for name, setting in DEFAULTS.settings.items() if setting.action in ("store_true", "store_false")
}


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


def _gunicorn(
    words: Sequence[str], environment: Mapping[str, str], configuration: Configuration | None = None
) -> Server:
    line, variable = _gunicorn_arguments(words), environment.get("GUNICORN_CMD_ARGS", "")
    try:
        from_variable = shlex.split(variable)
    except ValueError as error:
        return Server(
            "Gunicorn",
            drain=0.0,
            setting="args",
            wrong=(f"GUNICORN_CMD_ARGS is {variable!r}: {str(error).lower()}",),
        )
    given: dict[str, object] = {}
    unknown: set[str] = set()
    for each in (from_variable, line):  # the command line wins, as in Gunicorn
        rest, dynamic = _without_unknown_values(each)
        unknown |= dynamic
        try:
            with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
                found, others = _parser().parse_known_args(rest)
        except (SystemExit, argparse.ArgumentError):
            reason = said.getvalue().strip().rpartition("error: ")[2]
            return Server(
                "Gunicorn",
                drain=0.0,
                setting="args",
                wrong=(f"Gunicorn refuses {reason or shlex.join(words)}",),
            )
        if misspelt := _misspelt(others):
            return Server("Gunicorn", drain=0.0, setting="args", wrong=(misspelt,))
        given |= {name: value for name, value in vars(found).items() if value is not None}
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


def _misspelt(words: Sequence[str]) -> str:
    """Return what Gunicorn does not know and is like an option of it; others may be of another version."""
    for word in words:
        option = word.partition("=")[0]
        like = get_close_matches(option, OPTIONS, 1, MISSPELT) if option.startswith("--") else []
        if like:
            return f"Gunicorn refuses {option}; {like[0]} may be meant"
    return ""


MISSPELT = 0.85
"""Least similarity of a misspelt option, from 0 to 1."""


def _as_number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
