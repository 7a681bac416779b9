"""Facts of a container's server."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from kubectl_lossless.doctor.server.kinds import GUNICORN, Kind

OWN_NAME = "this service"


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


@dataclass(frozen=True)
class Overrides:
    """Facts of the server that the user of the doctor states. None: not stated."""

    drain: float | None = None
    graceful: float | None = None
    keepalive: float | None = None


def overridden(server: Server, overrides: Overrides) -> Server:
    """Return the server with the facts that the user of the doctor states."""
    stated = {name: value for name, value in asdict(overrides).items() if value is not None}
    return replace(server, **stated)
