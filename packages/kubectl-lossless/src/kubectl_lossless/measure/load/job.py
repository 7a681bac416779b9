"""The load as a Job in the cluster, for targets that only the cluster's own network reaches."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object, to_list
from kubectl_lossless.measure.load.process import PLAN, LoadError
from kubectl_lossless.measure.pod import State, state_of, stuck_of

NAME = "lossless-load"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "kubectl-lossless"}
PORT = 8000
LONGEST = 7200
"""Time after which the cluster deletes a load whose program was killed, in seconds."""
START_TIMEOUT = 90.0  # seconds, the image's pull included


class Job:
    """The place of a load that runs as a Job; its lines come through the API server's proxy."""

    def __init__(
        self,
        kubectl: Kubectl,
        namespace: str,
        image: str,
        *,
        name: str = NAME,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """`image`: built by `make push-load`. `annotations` are put on the Job and its Secret."""
        self._kubectl = kubectl
        self._namespace = namespace
        self._image = image
        self._name = name
        self._annotations = dict(annotations or {})
        self._reader: subprocess.Popen[str] | None = None

    def start(self, plan: str) -> subprocess.Popen[str]:
        """Create the Job and follow its lines.

        Raises LoadError when it does not start in time, KubectlError when it cannot be created.
        """
        self._delete("--cascade=foreground")
        # A Secret, because the plan may hold an Authorization header.
        secret = {**self._object("v1", "Secret"), "stringData": {PLAN: plan}}
        created = self._kubectl.objects("create", "-f", "-", stdin=to_list([secret, self._manifest()]))
        self._own_secret(next(item for item in created if item["kind"] == "Job"))
        pod = self._wait_until_ready()
        # Through the API server, not the kubelet as `kubectl logs` would: no rotation cuts it.
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{PORT}/proxy/"
        self._reader = self._kubectl.start("get", "--raw", path)
        return self._reader

    def _own_secret(self, job: Object) -> None:
        """Let the cluster delete the Secret with the Job, also where this program is killed."""
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": self._name, "uid": job["metadata"]["uid"]}
        patch = json.dumps({"metadata": {"ownerReferences": [owner]}})
        self._kubectl("patch", "secret", self._name, "-n", self._namespace, "-p", patch)

    def _delete(self, *options: str) -> None:
        """Delete the Job, its pod and its Secret; only objects with the label of a load."""
        selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
        self._kubectl(
            *("delete", "job,secret", "-n", self._namespace, "--ignore-not-found", *options),
            *("-l", f"{selector},lossless.dev/load={self._name}"),
            timeout=60,
        )

    def _object(self, version: str, kind: str) -> Object:
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {**LABELS, "lossless.dev/load": self._name},
                "annotations": self._annotations,
            },
        }

    def _wait_until_ready(self) -> str:
        """Return the name of the Job's pod, once it serves its lines.

        Raises LoadError.
        """
        until = time.monotonic() + START_TIMEOUT
        stuck = None
        while time.monotonic() < until:
            pods = self._kubectl.objects("get", "pods", "-n", self._namespace, "-l", f"job-name={self._name}")
            for pod in pods:
                if state_of(pod) is State.READY:
                    return str(pod["metadata"]["name"])
                stuck = stuck_of(pod) or stuck
                if state_of(pod) is State.ENDED:
                    raise LoadError(self._no_start("its container ended"))
            if stuck and stuck.startswith(("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")):
                break
            time.sleep(0.5)
        raise LoadError(self._no_start(stuck or "no pod of it got ready"))

    def stop(self) -> None:
        """Suspend the Job: its pod gets a SIGTERM, and time to end.

        Raises LoadError.
        """
        try:
            self._kubectl(
                "patch", "job", self._name, "-n", self._namespace, "-p", '{"spec":{"suspend":true}}'
            )
        except KubectlError as error:
            raise LoadError(f"The load's Job could not be stopped. {error}") from error

    def clean(self) -> None:
        """Delete the Job and its pod."""
        if self._reader is not None:
            self._reader.kill()
            self._reader.wait()
        self._delete("--wait=false")

    def _no_start(self, reason: str) -> str:
        return (
            f"The load's Job did not start with the image {self._image}: {reason}\n"
            "`make push-load` builds and pushes it; REGISTRY=... names a registry that the nodes reach."
        )

    def _manifest(self) -> Object:
        container = {
            "name": "load",
            "image": self._image,
            "args": ["--port", str(PORT)],
            "envFrom": [{"secretRef": {"name": self._name}}],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1, "failureThreshold": 30},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "resources": {
                "requests": {"cpu": "100m", "memory": "96Mi"},
                "limits": {"cpu": "1", "memory": "256Mi"},
            },
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 40,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        return {
            **self._object("batch/v1", "Job"),
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": LONGEST,
                "ttlSecondsAfterFinished": 60,
                "template": {"metadata": {"labels": {**LABELS, "app": self._name}}, "spec": pod},
            },
        }
