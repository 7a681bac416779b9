"""The controls of the `restricted` Pod Security Standard, all of which v7 satisfies.

The controls are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/ for Kubernetes
1.35, restricted with the baseline that it includes. The API server decides; these tests need no cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .manifests import Object, containers, one, pod_spec

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def _handlers(each: Object) -> Iterator[Object]:
    """Yield the probes and lifecycle hooks of a container."""
    yield from (each[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in each)
    yield from each.get("lifecycle", {}).values()


def _container_violations(each: Object, pod: Object) -> Iterator[str]:
    context = each.get("securityContext", {})
    effective = {**pod.get("securityContext", {}), **context}
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if effective.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
    if context.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in each.get("ports", ())):
        yield "hostPort"
    actions = [handler.get(kind, {}) for handler in _handlers(each) for kind in ("httpGet", "tcpSocket")]
    if any("host" in action for action in actions):
        yield "host of a probe or hook"


def violations(pod: Object) -> set[str]:
    """Return the controls that a pod's spec violates."""
    contexts = [each.get("securityContext", {}) for each in (pod, *containers(pod))]
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)}
    for each in containers(pod):
        found.update(_container_violations(each, pod))
    for context in contexts:
        if context.get("windowsOptions", {}).get("hostProcess"):
            found.add("hostProcess")
        if context.get("runAsUser") == 0:
            found.add("runAsUser")
        if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
            found.add("appArmorProfile")
        selinux = context.get("seLinuxOptions", {})
        if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
            found.add("seLinuxOptions")
        if {each["name"] for each in context.get("sysctls", ())} - SYSCTLS:
            found.add("sysctls")
    if {kind for volume in pod.get("volumes", ()) for kind in volume if kind != "name"} - VOLUMES:
        found.add("volumes")
    return found


def _set(path: str, value: Any) -> Callable[[Object], None]:
    """Return a change of a field of the pod, or of its container if the path begins with `flask.`."""

    def apply(pod: Object) -> None:
        first, *rest = path.split(".")
        at = pod["containers"][0] if first == "flask" else pod
        keys = rest if first == "flask" else [first, *rest]
        for key in keys[:-1]:
            at = at.setdefault(key, {})
        at[keys[-1]] = value

    return apply


BREACHES = {
    "hostNetwork": _set("hostNetwork", True),
    "hostPID": _set("hostPID", True),
    "hostIPC": _set("hostIPC", True),
    "privileged": _set("flask.securityContext.privileged", True),
    "allowPrivilegeEscalation": _set("flask.securityContext.allowPrivilegeEscalation", True),
    "capabilities": _set("flask.securityContext.capabilities.add", ["NET_ADMIN"]),
    "runAsNonRoot": _set("flask.securityContext.runAsNonRoot", False),
    "runAsUser": _set("securityContext.runAsUser", 0),
    "seccompProfile": _set("flask.securityContext.seccompProfile", {"type": "Unconfined"}),
    "procMount": _set("flask.securityContext.procMount", "Unmasked"),
    "hostPort": _set("flask.ports", [{"containerPort": 8080, "hostPort": 8080}]),
    "host of a probe or hook": _set("flask.livenessProbe.httpGet.host", "127.0.0.1"),
    "hostProcess": _set("securityContext.windowsOptions", {"hostProcess": True}),
    "appArmorProfile": _set("securityContext.appArmorProfile", {"type": "Unconfined"}),
    "seLinuxOptions": _set("securityContext.seLinuxOptions", {"role": "sysadm_r"}),
    "sysctls": _set("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
    "volumes": _set("volumes", [{"name": "tmp", "hostPath": {"path": "/tmp"}}]),
}


def test_v7_violates_no_control() -> None:
    assert violations(pod_spec("v7")) == set()


@pytest.mark.parametrize("control", BREACHES)
def test_each_control_is_checked(control: str) -> None:
    pod = copy.deepcopy(pod_spec("v7"))
    BREACHES[control](pod)
    assert violations(pod) == {control}


def test_v7_namespace_enforces_restricted() -> None:
    labels = one("flask-deployment-v7", "Namespace")["metadata"]["labels"]
    prefix = "pod-security.kubernetes.io"
    assert labels[f"{prefix}/enforce"] == labels[f"{prefix}/warn"] == "restricted"
    assert labels[f"{prefix}/enforce-version"] == labels[f"{prefix}/warn-version"]


def test_v7_has_no_token_and_a_read_only_root_filesystem() -> None:
    pod = pod_spec("v7")
    assert pod["automountServiceAccountToken"] is False
    assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in containers(pod))


def test_v7_has_requests_and_limits() -> None:
    for each in containers(pod_spec("v7")):
        assert {name: set(amounts) for name, amounts in each["resources"].items()} == {
            "requests": {"cpu", "memory"},
            "limits": {"cpu", "memory"},
        }
