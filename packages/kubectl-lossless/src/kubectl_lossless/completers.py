"""Values that complete the arguments of a command line: names in a cluster, contexts, files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from kubectl_lossless.kubectl import Kubectl, KubectlError

TIMEOUT = 5.0
"""Timeout of kubectl for the names in a cluster, in seconds."""

Completer = Callable[..., Mapping[str, str]]
"""Function that returns the values of an argument, each with a description."""


def complete_with(action: argparse.Action, completer: object) -> argparse.Action:
    """Let an argument be completed by `completer`, where argcomplete looks for it; return the argument."""
    action.completer = completer  # type: ignore[attr-defined]
    return action


def files(*, prefix: str, **_: object) -> dict[str, str]:
    """Return the files and folders whose names begin with `prefix`."""
    from argcomplete.completers import FilesCompleter

    return dict.fromkeys(FilesCompleter()(prefix), "")


def choices(*values: str) -> Completer:
    """Return a completer of an argument that has these values."""
    return lambda **_: dict.fromkeys(values, "")


def names(*arguments: str, options: argparse.Namespace | None = None) -> dict[str, str]:
    """Return the names that a command of kubectl prints, one a line; none where kubectl fails."""
    kubectl = Kubectl(getattr(options, "context", None))
    try:
        found = kubectl(*arguments, timeout=TIMEOUT).split()
    except KubectlError:
        return {}
    return dict.fromkeys(found, "")


def contexts(**_: object) -> dict[str, str]:
    """Return the contexts of the kubeconfig."""
    return names("config", "get-contexts", "-o", "name")


def namespaces(*, parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """Return the namespaces of the cluster."""
    found = names("get", "namespaces", "-o", "name", options=parsed_args)
    return {name.partition("/")[2]: "" for name in found}


def workloads(*kinds: str) -> Completer:
    """Return a completer of KIND/NAME for workloads of these kinds."""

    def complete(*, parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
        namespace = ["-n", parsed_args.namespace] if getattr(parsed_args, "namespace", None) else []
        found = names("get", ",".join(kinds), *namespace, "-o", "name", options=parsed_args)
        return {f"{name.partition('.')[0]}/{name.partition('/')[2]}": "" for name in found}

    return complete
