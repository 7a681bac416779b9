"""Programs that take their work from a queue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kubectl_lossless.doctor.server.command_line import after_python_options, program

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

ELECTS = re.compile(r"--(enable-)?leader-elect(ion)?(=true)?")
"""Option of a controller, which takes its work from a watch and of which one replica works at a time."""

WORKER_TASKS = re.compile(
    r"(jobs:work|resque:work(ers?)?|solid_queue:start|que:work|queue:(work|listen)|horizon|schedule:work)(\[.*)?"
)
"""Tasks of rake, rails and artisan of that kind."""


def works(words: Sequence[str]) -> bool:
    """Return whether a command line is a worker's or a scheduler's."""
    rest = program(words)
    if rest and re.fullmatch(r"python[0-9.]*", Path(rest[0]).name):
        rest = after_python_options(rest[1:])
        if rest[:1] == ["-m"]:
            rest = rest[1:]
    if not rest:
        return False
    if any(map(ELECTS.fullmatch, rest)):
        return True
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
