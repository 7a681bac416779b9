"""Known facts of a container's server, from its command line, its environment and its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kubectl_lossless.doctor import own
from kubectl_lossless.doctor.configuration import Configuration
from kubectl_lossless.doctor.server.gunicorn import of_gunicorn, own_service, with_drain, with_install
from kubectl_lossless.doctor.server.images import by_image
from kubectl_lossless.doctor.server.kinds import KINDS
from kubectl_lossless.doctor.server.model import Server
from kubectl_lossless.doctor.server.options import of_options
from kubectl_lossless.doctor.server.programs import server_name
from kubectl_lossless.doctor.server.settings import coredns, spring, traefik
from kubectl_lossless.doctor.server.start import Start


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
    name = server_name(words) or ("" if words else by_image(image))
    found = of_gunicorn(words, environment, configuration) if name == "gunicorn" else None
    if found is not None and found.file == own.PACKAGE:
        return with_drain(found, environment, own.OF_PACKAGE)
    if found is not None and configuration is not None and configuration.installs:
        return with_install(found, configuration, environment)
    if own.is_own(environment, name == "gunicorn"):
        return own_service(environment)
    if name in KINDS:
        return of_options(KINDS[name], words, start, environment)
    if not name and "GUNICORN_CMD_ARGS" in environment:
        found = of_gunicorn(words, environment, configuration)
    return (
        found
        or spring(start, environment)
        or traefik(words, environment, image)
        or coredns(start, image)
        or Server()
    )


def with_readiness(server: Server, response: str) -> Server:
    """Return the server with the drain that its response to the readiness probe reports."""
    maximum = own.maximum_of(response)
    if maximum is None or server.name not in ("", "Gunicorn", "A Python program"):
        return server
    # Behind a script nothing else is known of Gunicorn.
    kind = None if server.name != "Gunicorn" else server.kind
    return replace(server, name="Gunicorn", drain=maximum, kind=kind)
