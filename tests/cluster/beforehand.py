"""Check of the cluster, and announcement of the changes to it, before the first test."""

from __future__ import annotations

import sys

import pytest

from kubectl_lossless.kubectl import Kubectl, KubectlError, named
from tools.course.namespace import get_namespace, refusal

NAMESPACE = "flask-cluster"

MEASURED = "lossless-test"
"""Namespace of the workloads that the tests of `kubectl lossless measure` roll out."""

EXAMINED = "drain-test"
"""Namespace of the workload that the tests of the doctor examine."""


def check(context: str) -> None:
    """Refuse a context that does not exist, does not respond, or has a namespace flask-cluster of others.

    Raises UsageError.
    """
    try:
        kubectl = named(context)
        kubectl.check()
        refused = refusal(kubectl, NAMESPACE)
    except KubectlError as error:
        raise pytest.UsageError(str(error)) from None
    if refused:
        raise pytest.UsageError(refused)


def announce(context: str, *, disruptive: bool) -> None:
    """Print the name of the cluster and the changes that the tests will make to it."""
    kubectl = Kubectl(context)
    there = get_namespace(kubectl, NAMESPACE) is not None
    nodes = [node["metadata"]["name"] for node in kubectl.objects("get", "nodes")]
    if disruptive:
        others = (
            f"DISRUPTIVE=1: drains the node {nodes[-1]} of its pods (--delete-emptydir-data), uncordons it, "
            "evicts pods of the namespace, stops a kube-proxy on this machine for 3 s"
        )
    else:
        others = "nothing else (DISRUPTIVE=1 also drains a node, evicts pods and stops a kube-proxy)"
    lines = [
        f"cluster tests on the context {context}: {kubectl.server}, nodes {', '.join(nodes)}",
        f"  namespace {NAMESPACE}: "
        + ("this project's; everything in it is deleted" if there else "created, and deleted at the end"),
        f"  namespaces {MEASURED} and {EXAMINED}, and the CRD rollouts.argoproj.io where there is none: "
        "created, and deleted at the end",
        f"  {others}",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)
