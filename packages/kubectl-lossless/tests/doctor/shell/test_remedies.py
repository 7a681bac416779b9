"""Changes of a script."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.programs import serves
from kubectl_lossless.doctor.shell.outcome import End, outcome
from kubectl_lossless.doctor.shell.remedies import with_exec, without_bash_redirections
from kubectl_lossless.doctor.shell.tokens import Shell


@pytest.mark.parametrize(
    ("script", "mended"),
    [
        ("b &> file", "b > file 2>&1"),
        ("b &>>file; c", "b >>file 2>&1; c"),
        ("b & > file", "b & > file"),
        ("echo '&> x' &> y", "echo '&> x' > y 2>&1"),
        ("b > file 2>&1", "b > file 2>&1"),
    ],
)
def test_redirection_of_bash_is_rewritten_for_dash(script: str, mended: str) -> None:
    assert without_bash_redirections(script) == mended


@pytest.mark.parametrize(
    ("script", "mended"),
    [
        ("gunicorn app", "exec gunicorn app"),
        ("PORT=80 gunicorn app", "PORT=80 exec gunicorn app"),
        ("./migrate && gunicorn app \\\n  -w 3\n", "./migrate && exec gunicorn app \\\n  -w 3\n"),
        ("nginx -g 'daemon off;'", "exec nginx -g 'daemon off;'"),
        ("gunicorn app 2>&1", "exec gunicorn app 2>&1"),
        ("gunicorn app; true", None),
        ("gunicorn app &\nnginx", None),
        ("gunicorn app && nginx", None),
        ("while true; do gunicorn app; done", None),
        ("gunicorn app | tee log", None),
        ("f() { gunicorn app; }; f", None),
        ("exec gunicorn app", None),
    ],
)
def test_exec_is_added_only_where_nothing_else_is_missing(script: str, mended: str | None) -> None:
    assert with_exec(script, outcome(script, Shell.DASH), serves) == mended
    if mended:
        assert outcome(mended, Shell.DASH).end is End.REPLACED
