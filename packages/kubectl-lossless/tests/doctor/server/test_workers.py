"""Programs that take their work from a queue."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.start import Start


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["celery", "-A", "x", "worker"], True),
        (["celery", "-A", "x", "beat"], True),
        (["celery", "-A", "x", "flower"], False),
        (["python", "-m", "celery", "-A", "x", "worker"], True),
        (["python", "manage.py", "qcluster"], True),
        (["sh", "-c", "sleep 3; exec rq worker"], True),
        (["airflow", "scheduler"], True),
        (["airflow", "webserver"], False),
        (["gunicorn", "app"], False),
    ],
)
def test_worker_is_recognized(words: list[str], expected: bool) -> None:
    assert Start(words).takes_work_from_a_queue is expected
