"""Servers that are known by their settings: Spring Boot, Traefik, CoreDNS and istio-proxy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kubectl_lossless.doctor.durations import seconds_of
from kubectl_lossless.doctor.server.images import image_name
from kubectl_lossless.doctor.server.kinds import COREDNS, ISTIO, ISTIO_DRAIN, SPRING, TRAEFIK
from kubectl_lossless.doctor.server.model import Server
from kubectl_lossless.doctor.server.start import Start

JAVA_OPTIONS = ("JAVA_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_ARGS", "JAVA_OPTIONS")
"""Environment variables with options of a Java program."""


SHUTDOWN, PHASE = "server.shutdown", "spring.lifecycle.timeout-per-shutdown-phase"
IN_FILES = {
    SHUTDOWN: re.compile(r"(?mi)^\s*(?:server\.)?shutdown\s*[:=]\s*['\"]?(graceful|immediate)\b"),
    PHASE: re.compile(r"(?m)^\s*(?:spring\.lifecycle\.)?timeout-per-shutdown-phase\s*[:=]\s*['\"]?(\w+)"),
}
"""Spring Boot's settings as its files have them, in YAML and as properties."""

SPRING_FILE = re.compile(r"(.*/)?application(-[^/]*)?\.(ya?ml|properties)")
"""Path of such a file."""


def spring(start: Start, environment: Mapping[str, str]) -> Server | None:
    """Return Spring Boot's server, which its settings for the shutdown show; None without one of them."""
    line = " ".join([*start.serving, *(environment.get(each, "") for each in JAVA_OPTIONS)])
    files = [text for path, text in start.files.items() if SPRING_FILE.fullmatch(path)]

    def setting(name: str) -> str:
        """Return the setting of the command line, else of a variable, else of a file."""
        variable = name.upper().replace(".", "_")
        variables = (variable.replace("-", ""), variable.replace("-", "_"))  # Spring Boot reads both
        given = re.findall(rf"(?:-D|--){re.escape(name)}=(\S+)", line)
        given += [environment[each] for each in variables if each in environment]
        given += [value for text in files for value in IN_FILES[name].findall(text)]
        return next(iter(given), "")

    shutdown = setting(SHUTDOWN).lower()
    if shutdown not in ("graceful", "immediate"):
        return None
    phase = seconds_of(setting(PHASE) or "30s", unit=0.001)
    kind = replace(SPRING, drops_in_flight=shutdown == "immediate")
    return Server(
        kind.name,
        drain=0.0,
        graceful=None if shutdown == "immediate" else phase,
        max_requests=0,
        setting="env",
        kind=kind,
    )


def traefik(words: Sequence[str], environment: Mapping[str, str], image: str) -> Server | None:
    """Return Traefik with the drain of its entry points; None where a file may have its settings."""
    if "traefik" not in (image_name(image), Path(words[0]).name if words else ""):
        return None
    options = [word.lower() for word in words if word.startswith("--")]
    options += [
        f"--{name[8:].lower().replace('_', '.')}={value}"
        for name, value in environment.items()
        if name.startswith("TRAEFIK_")
    ]
    entries = [each for each in options if each.startswith("--entrypoints.")]
    if not entries or any(each.startswith("--configfile") for each in options):
        return None
    drains = [seconds_of(each.partition("=")[2]) for each in entries if ".requestacceptgracetimeout=" in each]
    drain = min((each for each in drains if each is not None), default=0.0)
    graceful = [seconds_of(each.partition("=")[2]) for each in entries if ".lifecycle.gracetimeout=" in each]
    return Server(
        TRAEFIK.name,
        drain=None if None in drains else drain,
        graceful=max((each for each in graceful if each is not None), default=10.0),
        keepalive=TRAEFIK.keepalive,
        max_requests=0,
        setting="args",
        kind=TRAEFIK,
    )


LAMEDUCK = re.compile(r"(?m)^\s*lameduck\s+(\S+)")
"""Setting of a Corefile for how long CoreDNS still responds after SIGTERM."""


def coredns(start: Start, image: str) -> Server | None:
    """Return CoreDNS with the lameduck of a known Corefile; None where it has none or is another program."""
    found = [seconds_of(each) for text in start.files.values() for each in LAMEDUCK.findall(text)]
    if image_name(image) != "coredns" or not found:
        return None
    return Server(COREDNS.name, drain=found[0], graceful=None, max_requests=0, setting="args", kind=COREDNS)


def of_istio(environment: Mapping[str, str]) -> Server:
    """Return istio-proxy, whose agent drains Envoy before it ends it."""
    duration = seconds_of(environment.get("TERMINATION_DRAIN_DURATION_SECONDS", "")) or ISTIO_DRAIN
    return Server(
        ISTIO.name, drain=duration, graceful=0.0, keepalive=None, max_requests=0, setting="env", kind=ISTIO
    )
