"""Settings that the workers of this package refuse at the start."""

from __future__ import annotations

from gunicorn.config import Config

from gunicorn_drain import SPARE_FILES, raise_file_limit


def unsupported(cfg: Config) -> str | None:
    """Return a sentence about a setting that the workers of this package do not support, else None."""
    if cfg.is_ssl:
        found, instead = f"certfile is {cfg.certfile}, keyfile {cfg.keyfile}", "terminate TLS in a proxy"
    elif cfg.proxy_protocol != "off":
        found = f"proxy_protocol is {cfg.proxy_protocol}"
        instead = "have the proxy send X-Forwarded-For instead of the PROXY protocol"
    elif "h2" in cfg.http_protocols:
        found, instead = f"http_protocols is {','.join(cfg.http_protocols)}", "terminate HTTP/2 in a proxy"
    elif cfg.protocol != "http":
        found, instead = f"protocol is {cfg.protocol}", "have the proxy send HTTP/1.1"
    else:
        return too_few(cfg)
    return (
        f"{found}; the worker class {cfg.worker_class_str} supports HTTP/1 only, without TLS and without the "
        f"PROXY protocol. Use the worker class gthread, or {instead}"
    )


def too_few(cfg: Config) -> str | None:
    """Return a sentence about settings with which a worker would serve no connection, else None."""
    for name in ("worker_connections", "threads"):
        if (number := getattr(cfg, name)) < 1:
            return f"{name} is {number}; allowed are whole numbers from 1"
    if (allowed := raise_file_limit(cfg.worker_connections)) < 1:
        return (
            f"Open files are limited to {allowed + SPARE_FILES}; a worker keeps {SPARE_FILES} for other "
            "purposes than connections: raise the limit (ulimit -n)"
        )
    return None
