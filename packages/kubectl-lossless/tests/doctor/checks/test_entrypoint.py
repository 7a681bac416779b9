"""Checks of the process that gets SIGTERM."""

from __future__ import annotations

from doctor.helpers import LOSES, UNKNOWN, base, dump, findings, of, only
from doctor.kinds import GUNICORN, command, env, script
from kubectl_lossless.doctor.checks import examine
from kubectl_lossless.doctor.manifest import Observed
from kubectl_lossless.doctor.workload import Workload


def test_remedy_of_a_script_keeps_the_variables_of_kubernetes() -> None:
    objects = base(script("gunicorn app -b :$(PORT) --graceful-timeout 20"), env(PORT="80"))
    (change,) = of("shell-entrypoint", findings(dump(objects))).changes
    assert change.value == "exec gunicorn app -b :$(PORT) --graceful-timeout 20"


def test_remedy_stands_where_the_script_stands() -> None:
    objects = base(command("/usr/bin/env", "sh", "-e", "-c", GUNICORN))
    (change,) = of("shell-entrypoint", findings(dump(objects))).changes
    assert change.path[-2:] == ("command", 4)
    objects = base(script(GUNICORN))
    (change,) = of("shell-entrypoint", findings(dump(objects))).changes
    assert change.path[-2:] == ("args", 0)


def test_two_servers_in_a_script_have_words_for_a_remedy() -> None:
    found = of("shell-entrypoint", findings(dump(base(script(f"{GUNICORN} & nginx -g 'daemon off;'")))))
    assert (found.changes, found.advice[:32]) == ((), "one container for each program, ")


def test_script_in_a_file_is_named_behind_the_init() -> None:
    found = of(
        "shell-entrypoint", findings(dump(base(command("dumb-init", "--", "/srv/entrypoint.sh", "x"))))
    )
    assert (found.severity, found.what) == (UNKNOWN, "Whether /srv/entrypoint.sh in web ends with exec.")


def test_shell_that_was_seen_as_pid_1_stays() -> None:
    seen = only(dump(base()))
    workload = Workload(seen.document, seen.others, observed={"web": Observed(["sh", "/srv/run.sh"])})
    found = of("shell-entrypoint", list(examine(workload).findings))
    assert (found.severity, found.what) == (LOSES, "PID 1 of web is a shell: sh /srv/run.sh")
