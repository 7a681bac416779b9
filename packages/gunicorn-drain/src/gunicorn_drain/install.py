"""Installation of the drain in a Gunicorn configuration file: hooks, readiness path, checks at the start."""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Collection, MutableMapping
from functools import partial
from typing import Any, Final

import gunicorn
from gunicorn.config import Config

from gunicorn_drain import flags, listeners, support
from gunicorn_drain.callers import application_is_imported
from gunicorn_drain.drain import Drain, get_drain
from gunicorn_drain.hooks import Hook, chain, followed_by, guarded, refuse_to_start
from gunicorn_drain.policy import SETTINGS, DrainPolicy, PolicyError
from gunicorn_drain.probes import Probe, wrong_path
from gunicorn_drain.reload import close_removed_listeners, take_over_sighup
from gunicorn_drain.send_timeout import SendTimeout
from gunicorn_drain.shared import WORKERS_MAX
from gunicorn_drain.variables import misspelt
from gunicorn_drain.wsgi import with_readiness

FROM_ENVIRONMENT: Final = object()
"""Default of `policy`: read DRAIN, DRAIN_MIN, DRAIN_QUIET and DRAIN_MAX."""

WITHOUT_FILE: Final = {"gunicorn_drain.config": ("DRAIN_READINESS", "DRAIN_PROBES")}
"""More variables that are settings, by the name of the module that is the configuration file."""

OURS_FIRST: Final = (
    "on_starting",
    "when_ready",
    "pre_fork",
    "post_fork",
    "post_worker_init",
    "pre_request",
    "worker_abort",
)
"""Hooks of which the drain's part runs before the configuration's own, which then finds the drain set up."""

OURS_LAST: Final = ("post_request", "child_exit", "on_exit")
"""Hooks of which the drain's part runs after the configuration's own, even if the latter raises."""

GUARDED: Final = ("pre_fork", "post_fork", "post_worker_init", "worker_abort", "child_exit", "on_exit")
"""Hooks that run while the service has clients. The hooks of a request catch their faults themselves."""

_own: dict[int, tuple[Hook, object]] = {}
"""Installed hooks by their id, each with the hook of the configuration itself, or None."""


def install(
    namespace: MutableMapping[str, Any],
    *,
    probes: Collection[Probe | str] = (),
    readiness: str | None = None,
    policy: DrainPolicy | object | None = FROM_ENVIRONMENT,
    send_timeout: float | None = None,
) -> Drain:
    """Install the drain in the configuration file whose `globals()` are `namespace`; return the drain.

    Call it at the end of gunicorn.conf.py: the hooks that the file has by then are kept and called too
    (`OURS_FIRST` and `OURS_LAST` have the order). A hook defined below the call would replace the drain's;
    the service then refuses to start.

    `probes`: requests of the platform, for which a drain does not wait: paths such as "/healthz", or `Probe`.
    `readiness`: a path to which the drain itself responds, with 200 while the service is ready and 503 from
    SIGTERM on. It is a probe too.
    `policy`: durations of the drain; None switches the drain off. By default the environment has them, with
    the variables of Gunicorn's `raw_env` and `--env`; likely misspelt ones are warnings at the start.
    `send_timeout`: timeout of a response without progress, in seconds. The connection of a client that does
    not read is then closed, so that it holds no thread; readiness is also false while requests wait and no
    thread becomes free. None: no timeout. WSGI workers on Linux only.

    Raises TypeError or ValueError for wrong arguments, and RuntimeError in an application's module. Wrong
    variables of the environment are reported on stderr and end the process with status 2, as do an
    unsupported version of Gunicorn and a worker class that cannot be loaded.
    """
    if not isinstance(namespace, MutableMapping):
        raise TypeError(f"namespace is {namespace!r}; allowed is globals() of the configuration file")
    if application_is_imported():
        raise RuntimeError(
            "gunicorn_drain.install() was called while Gunicorn imports the application, too late for its "
            "hooks; call it in gunicorn.conf.py"
        )
    all_probes = _all_probes(probes, readiness)
    ignored: list[str] = []
    chosen = ChainMap(flags.given(), namespace)
    if policy is FROM_ENVIRONMENT:
        environ = flags.environment(chosen)
        try:
            policy = DrainPolicy.from_environment(environ)
        except PolicyError as error:
            refuse_to_start(str(error))
        ignored = misspelt(environ, (*SETTINGS, *WITHOUT_FILE.get(str(namespace.get("__name__")), ())))
    if policy is not None and not isinstance(policy, DrainPolicy):
        raise TypeError(f"policy is {policy!r}; allowed is a DrainPolicy, or None for no drain")
    # True is an int: a second, where "on" was meant.
    if send_timeout is not None and not (type(send_timeout) in {int, float} and send_timeout > 0):
        raise ValueError(
            f"send_timeout is {send_timeout!r}; allowed are seconds above 0, or None for no timeout"
        )
    if (sentence := support.unsupported_version(gunicorn.__version__)) is not None:
        refuse_to_start(sentence)
    later = [chosen.get("chdir") or "", *(chosen.get("pythonpath") or "").split(",")]
    if (sentence := support.unknown_worker_class(chosen.get("worker_class", "sync"), later)) is not None:
        refuse_to_start(sentence)

    drain = get_drain()
    drain.configure(policy, all_probes)
    installed: dict[str, Hook] = {}
    drain.refusals = partial(_refusals, installed, drain)
    responses = None if send_timeout is None else SendTimeout(drain, send_timeout)
    requests = responses or drain.worker
    own = {name: _own_hook(namespace.get(name)) for name in (*OURS_FIRST, *OURS_LAST)}

    # Functions, because `gunicorn --print-config` reads the name of each hook.
    def on_starting(server: Any) -> None:
        _check(drain, server, *listeners.wrong(server.cfg.address))
        restrictions = support.restrictions(server.cfg, send_timeout) if drain.policy is not None else []
        for each in (*restrictions, *ignored):
            server.log.warning("gunicorn-drain: %s", each)

    def when_ready(server: Any) -> None:
        _when_ready(drain, server)

    ours: dict[str, Hook] = {
        "on_starting": on_starting,
        "when_ready": when_ready,
        "pre_fork": drain.master.pre_fork,
        "post_fork": partial(_post_fork, drain),
        "post_worker_init": partial(_post_worker_init, drain, readiness, responses, own["post_request"]),
        "pre_request": requests.pre_request,
        "worker_abort": drain.worker.worker_abort,
        "post_request": requests.post_request,
        "child_exit": drain.master.child_exit,
        "on_exit": drain.master.on_exit,
    }
    ours |= {name: guarded(name, ours[name]) for name in GUARDED}
    for name, hook in ours.items():
        chained = chain(name, hook, own[name], ours_last=name in OURS_LAST)
        if name == "post_worker_init":
            chained = followed_by(name, chained, guarded(name, partial(_mark_ready, drain)))
        installed[name] = namespace[name] = chained
        _own[id(installed[name])] = installed[name], own[name]
    return drain


def _all_probes(probes: Collection[Probe | str], readiness: str | None) -> list[Probe | str]:
    """Return the probes, the readiness path among them. TypeError or ValueError for wrong ones."""
    if isinstance(probes, str) or not isinstance(probes, Collection):
        raise TypeError(f"probes is {probes!r}; allowed is a list of paths or of Probe")
    named: list[tuple[str, Probe | str]] = [("probes", each) for each in probes]
    if readiness is not None:
        named.append(("readiness", readiness))
    for name, probe in named:
        if sentence := wrong_path(name, probe.path if isinstance(probe, Probe) else probe):
            raise ValueError(sentence)
    return [probe for _, probe in named]


def _own_hook(hook: object) -> object:
    """Return the configuration's own hook, which an earlier call of install() may have replaced by `hook`."""
    return _own[id(hook)][1] if id(hook) in _own else hook


def _when_ready(drain: Drain, server: Any) -> None:
    _check(drain, server)  # on_starting itself may have been replaced
    take_over_sighup(server, drain)
    support.start_successor_as_module(server)
    drain.master.when_ready(server)


def _post_fork(drain: Drain, server: Any, worker: Any) -> None:
    close_removed_listeners(server)
    drain.worker.post_fork(server, worker)


def _post_worker_init(
    drain: Drain, readiness: str | None, responses: SendTimeout | None, own_post_request: object, worker: Any
) -> None:
    drain.worker.post_worker_init(worker)
    if support.is_asgi(type(worker)):
        from gunicorn_drain import asgi  # with asyncio, which gevent would have to patch first

        asgi.wrap_application(worker, drain, readiness)
        if drain.policy is not None:
            asgi.take_over_sigterm(worker, drain)
        asgi.restore_post_request(worker, own_post_request)
        drain.worker.leave_requests_to(asgi.current_request.set)
        asgi.mark_ready_when_serving(worker, drain)
        return
    if support.is_tornado(type(worker)):
        from gunicorn_drain import tornado  # which need not be installed

        tornado.wrap_application(worker, drain, readiness)
    else:
        support.keep_listener_names(worker)
        if readiness is not None:
            worker.wsgi = with_readiness(worker.wsgi, readiness, drain)
        if responses is not None:
            responses.post_worker_init(worker)
    drain.worker.prepared = True  # last: a worker of which a part is missing must not become ready


def _mark_ready(drain: Drain, worker: Any) -> None:
    """Mark a worker ready that waits for nothing else: the configuration's own hook has been called, too."""
    if drain.worker.prepared:
        # Before a worker's first heartbeat Gunicorn compares with the time of day, and no timeout ever
        # passes: a worker that hangs before its loop would count as ready for ever.
        worker.notify()
        drain.mark_ready()


def _refusals(installed: dict[str, Hook], drain: Drain, cfg: Config) -> list[str]:
    """Return a sentence for each part of a configuration with which the drain would not work."""
    replaced = [name for name, hook in installed.items() if cfg.settings[name].get() is not hook]
    if len(replaced) == len(installed):
        return ["the configuration does not call gunicorn_drain.install()"]
    sentences = [
        f"{name} is not the hook that gunicorn_drain.install() has set; call install() at the end of the "
        "configuration file"
        for name in replaced
    ]
    if not 1 <= cfg.workers <= WORKERS_MAX:
        sentences.append(f"workers is {cfg.workers}; allowed are whole numbers from 1 to {WORKERS_MAX}")
    if (sentence := support.unknown_worker_class(cfg.settings["worker_class"].get())) is not None:
        return [*sentences, sentence]
    return sentences if drain.policy is None else sentences + support.refusals(cfg)


def _check(drain: Drain, server: Any, *more: str) -> None:
    """Refuse to start if the drain would not work, or for the sentences `more`, before there is a worker."""
    if sentences := [*drain.refusals(server.cfg), *more]:
        for each in sentences:
            server.log.error("gunicorn-drain: %s", each)
        if server.pidfile is not None:
            server.pidfile.unlink()
        sys.exit(2)
