"""Fingerprints of the code of Gunicorn on which the packages and app/ depend.

The test fails with each release that changes any of this code. Then read the change beside the code that
depends on it, run `make test-gunicorn GUNICORN=...`, and enter the new fingerprint here.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from operator import attrgetter

import gunicorn
import pytest

MASTER = "gunicorn_drain.master"
DRAIN_WORKER = "gunicorn_drain.worker"
RELOAD = "gunicorn_drain.reload"
WORKER = "gunicorn_fast.probe_worker.ProbeLaneWorker"
LEADER = "gunicorn_fast.leader_worker.LeaderWorker"
HTTP = "gunicorn_fast.http"
ASGI = "gunicorn_drain.asgi"
IDLE = "gunicorn_drain.idle"

# Module, name in it, fingerprints in 27.0.1 (and in 27.0.0 if different), and the code that depends on it.
LEANT_ON = [
    ("arbiter", "Arbiter.signal", "8b193e95e16a", f"{MASTER}: _on_sigterm, _on_tick"),
    ("arbiter", "Arbiter.wakeup", "5a6a596d0a04", f"{MASTER}: _on_tick"),
    ("arbiter", "Arbiter.wait_for_signals", "4abcab1deb7c", f"{MASTER}: _on_tick"),
    ("arbiter", "Arbiter.handle_term", "93d583480a66", f"{MASTER}: _handle_term"),
    ("arbiter", "Arbiter.handle_hup", "50de80005cd6", f"{RELOAD}: take_over_sighup"),
    ("arbiter", "Arbiter.reload", "fec344d2f774", f"{RELOAD}, which does the same in another order"),
    ("arbiter", "Arbiter.setup", "9eb391c82c19", f"{RELOAD}: _apply, _Before.restore"),
    ("arbiter", "Arbiter.reap_workers", "ebcf4187e9eb", f"{RELOAD}: _start_first_worker"),
    (
        "app.base",
        "Application.load_config_from_module_name_or_filename",
        "a73af6dfae9b",
        f"{RELOAD}: _reason",
    ),
    ("arbiter", "Arbiter.stop", "7138b6afd9c4", f"{MASTER}: _on_stop"),
    ("arbiter", "Arbiter.run", "1ddfab9d644f", f"{MASTER}: when_ready"),
    ("arbiter", "Arbiter.spawn_workers", "8fd09f6b3f3e", "gunicorn_drain.spawn"),
    ("arbiter", "Arbiter.manage_workers", "518f2dd040ef", "gunicorn_drain.spawn, which it calls each second"),
    ("arbiter", "Arbiter.spawn_worker", "6abc0d90b0b9", f"{MASTER}: pre_fork, {DRAIN_WORKER}: post_fork"),
    (
        "workers.base",
        "Worker.init_process",
        "114caccd7a0e",
        f"{DRAIN_WORKER}: post_fork, and {LEADER} init_process",
    ),
    ("workers.base", "Worker.init_signals", "65442e0602b0", f"{DRAIN_WORKER}: post_fork"),
    (
        "workers.base",
        "Worker.handle_error",
        "75426448389b",
        f"{LEADER}.serve, and gunicorn_drain/logs/errors.py",
    ),
    ("workers.workertmp", "WorkerTmp.notify", "0d06fcb9fe25", f"{LEADER}.wait_for_and_dispatch_events"),
    ("config", "Config.__getattr__", "ff80f0fbda2e", f"{LEADER}.init_process"),
    ("config", "Config.__setattr__", "6edbf4cc937a", f"{LEADER}.init_process"),
    ("glogging", "Logger.setup", "17c79acdddea", "gunicorn_drain/logs/logger.py: ServiceLogger.setup"),
    (
        "glogging",
        "Logger._set_handler",
        "e557cdf9c18b",
        "gunicorn_drain/logs/logger.py: ServiceLogger._set_handler",
    ),
    (
        "glogging",
        "Logger._get_gunicorn_handler",
        "9b0260af0d7e",
        "gunicorn_drain/logs/logger.py: ServiceLogger.setup",
    ),
    ("workers.gasgi", "ASGIWorker._serve", "986a7a4ab51c", f"{ASGI}: mark_ready_when_serving"),
    ("workers.gasgi", "ASGIWorker._shutdown", "9598f4e44fba", IDLE),
    ("asgi.protocol", "ASGIProtocol.connection_made", "9113fc16d379", IDLE),
    ("asgi.protocol", "ASGIProtocol.connection_lost", "b13789445158", IDLE),
    ("asgi.protocol", "ASGIProtocol.data_received", "cd5471b9a336", IDLE),
    ("asgi.protocol", "ASGIProtocol._handle_connection", "9e8aa1729b5a", IDLE),
    ("asgi.protocol", "_post_request_hook", "d3c6bf561bb6", f"{ASGI}: restore_post_request"),
    ("sock", "BaseSocket", "f825d1c1c4ed", "gunicorn_drain/listeners.py"),
    ("sock", "TCP6Socket", "9cb5cef2b7d7", "gunicorn_drain/listeners.py"),
    ("sock", "_sock_type", "e079be8cf0af", "gunicorn_drain/listeners.py"),
    ("config", "Config.parser", "06d8f7a5df90", "gunicorn_drain/flags.py: given"),
    (
        "glogging",
        "Logger._compute_access_log_enabled",
        "6ae10baf886e",
        "gunicorn_drain/logs/logger.py: ServiceLogger",
    ),
    (
        "glogging",
        "Logger.access",
        "45fce61c353b",
        "gunicorn_drain/logs/logger.py: ServiceLogger.atoms, AccessFields",
    ),
    (
        "http.wsgi",
        "Response.start_response",
        "59799d9ff136",
        "gunicorn_drain/logs/request_id.py: with_request_ids",
    ),
    (
        "http.wsgi",
        "Response.process_headers",
        "496d84a357b0",
        "gunicorn_drain/logs/request_id.py: with_request_ids",
    ),
    ("workers.gthread", "TConn", "e3a2878ba952", "gunicorn_fast.connection.Connection"),
    ("workers.gthread", "PollableMethodQueue", "5b4a78bd3cfb", f"{WORKER}.enqueue_req"),
    ("workers.gthread", "ThreadWorker.__init__", "5681b8b542ea", f"{WORKER}.__init__"),
    ("workers.gthread", "ThreadWorker.init_process", "e4fc63a1a68e", f"{WORKER}.init_process"),
    (
        "workers.gthread",
        "ThreadWorker.run",
        "f92c7394d857 4e104c86c6b3",
        f"{WORKER}.murder_pending, and {LEADER} wait_for_and_dispatch_events",
    ),
    ("workers.gthread", "ThreadWorker.set_accept_enabled", "140150ebfd3c", f"{WORKER}.set_accept_enabled"),
    ("workers.gthread", "ThreadWorker.accept", "f8dcead3dce5", f"{WORKER}.accept"),
    ("workers.gthread", "ThreadWorker.enqueue_req", "c9f428953d24", f"{WORKER}.enqueue_req"),
    (
        "workers.gthread",
        "ThreadWorker.on_client_socket_readable",
        "aead1a3ea7b7",
        f"{WORKER}.on_next_request",
    ),
    (
        "workers.gthread",
        "ThreadWorker.on_pending_socket_readable",
        "2475f7087832",
        f"{WORKER}.on_more_headers",
    ),
    (
        "workers.gthread",
        "ThreadWorker.murder_keepalived",
        "4459960c4ccc",
        f"{WORKER}.murder_keepalived, and gunicorn_fast.deadlines",
    ),
    ("workers.gthread", "ThreadWorker.murder_pending", "7bf11f464542", f"{WORKER}.murder_pending"),
    (
        "workers.gthread",
        "ThreadWorker.finish_request",
        "616e7bb15a00 d74497a7adab",
        f"{WORKER}.finish_request",
    ),
    ("workers.gthread", "ThreadWorker.handle", "ca85c9be3df7", f"{LEADER}.handle, {WORKER}.enqueue_req"),
    ("workers.gthread", "ThreadWorker.handle_exit", "b4e7decd4f92", f"{LEADER}.handle_exit"),
    (
        "workers.gthread",
        "ThreadWorker.wait_for_and_dispatch_events",
        "ea969b352482",
        f"{LEADER}.wait_for_and_dispatch_events",
    ),
    ("workers.gthread", "ThreadWorker._keepalive_after", "4ebdbbc8bf5a", f"{LEADER}._keepalive_after"),
    (
        "workers.gthread",
        "ThreadWorker.handle_request",
        "6d0de5b91910",
        f"{LEADER}.handle_request, which is a copy",
    ),
    ("http.message", "HeaderPolicy", "84bc24b291e7", f"{HTTP}: FastParser.slow_path_headers"),
    ("http.message", "Message", "1998788a8a48", f"{HTTP}: FastParser.request"),
    (
        "http.message",
        "Request",
        "5fb06ef65d3b",
        f"{HTTP}: FastParser.read, and gunicorn_fast.connection.PartialHeaders",
    ),
    ("http.parser", "Parser", "3a9c06e348c7", f"{HTTP}: ConnectionParser"),
    ("http.unreader", "Unreader", "84aaa8f91fcd", f"{WORKER}.enqueue_req"),
    ("http.wsgi", "WSGIErrorsWrapper", "b8dac8d043f6", f"{HTTP}: LazyErrors"),
    ("http.wsgi", "create", "2c35d4a2dc62", f"{HTTP}: EnvironBuilder.create"),
    ("http.wsgi", "default_environ", "b7e18b84d829", f"{HTTP}: EnvironBuilder.create"),
    ("http.wsgi", "base_environ", "942494574f2c", f"{HTTP}: EnvironBuilder.create"),
    ("http.wsgi", "Response", "d67f8e6b29d7", f"{HTTP}: SingleWriteResponse"),
]


def fingerprint(thing: object) -> str:
    return hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()[:12]  # type: ignore[arg-type]


@pytest.mark.parametrize(("module", "name", "known", "leans"), LEANT_ON, ids=str)
def test_code_of_gunicorn_is_unchanged(module: str, name: str, known: str, leans: str) -> None:
    found = fingerprint(attrgetter(name)(importlib.import_module(f"gunicorn.{module}")))
    assert found in known.split(), (
        f"gunicorn.{module}.{name} of Gunicorn {gunicorn.__version__} is not what was read ({found}): "
        f"re-read {leans}"
    )
