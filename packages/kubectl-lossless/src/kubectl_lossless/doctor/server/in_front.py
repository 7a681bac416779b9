"""Programs that start a server and stay in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kubectl_lossless.doctor.server.command_line import program

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
    **dict.fromkeys(
        ("runsvdir", "runsvdir-start"), "runsvdir ends at SIGTERM without passing it on, and the pod with it"
    ),
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
    **dict.fromkeys(
        ("hivemind", "overmind"),
        ("SIGINT in place of SIGTERM on, and kills after 5 s", "--timeout, longer than requests take"),
    ),
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

DEVELOPMENT = {
    *("vite", "vite dev", "vite serve", "next dev", "nuxt dev", "nuxi dev", "astro dev", "ng serve"),
    *("webpack serve", "webpack-dev-server", "react-scripts start", "gatsby develop", "remix dev"),
}
"""Development servers of JavaScript, which build again and reload whenever a file changes."""

RELOADERS = DEVELOPMENT | {
    *("node --watch", "bun --watch", "bun --hot", "tsx watch", "nodemon", "ts-node-dev", "tsnd"),
    *("watchmedo", "watchexec", "watchfiles", "reflex", "air", "dotnet watch", "cargo watch", "entr"),
    "uvicorn-hmr",
}
"""Programs that start a server again whenever a file changes."""

SUBCOMMANDS = {each for each in [*RELOADERS, *WRAPPERS, "vite preview"] if " " in each}
"""Names that are a program's and its first argument's."""


def stays_in_front(words: Sequence[str]) -> bool:
    """Return whether a command line is that of a program that starts the server and stays in front of it."""
    rest = program(words)
    return bool(rest) and Path(rest[0]).name in WRAPPERS.keys() | SUPERVISORS.keys()
