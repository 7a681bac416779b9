"""The load as a Job in the cluster, for targets that only the cluster's own network reaches."""

import subprocess
import time

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object, to_list
from rollout.load.process import LoadError
from rollout.namespace import EXPERIMENT, MADE_BY
from rollout.watch import State, state_of, stuck_of

NAME = "rollout-load"
PORT = 8000
START_TIMEOUT = 90.0  # seconds, the image's pull included


class Job:
    """The place of a load that runs as a Job; its lines come through the API server's proxy."""

    def __init__(self, kubectl: Kubectl, namespace: str, image: str) -> None:
        """`image`: made by `make load-image`."""
        self._kubectl = kubectl
        self._namespace = namespace
        self._image = image
        self._reader: subprocess.Popen[str] | None = None

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Create the Job and follow its lines.

        Raises LoadError when it does not start in time, KubectlError when it cannot be created.
        """
        self._kubectl(
            "delete",
            "job",
            NAME,
            "-n",
            self._namespace,
            "--ignore-not-found",
            "--cascade=foreground",
            timeout=60,
        )
        self._kubectl("create", "-f", "-", stdin=to_list([self._manifest(arguments)]))
        pod = self._wait_until_ready()
        # Through the API server, not the kubelet as `kubectl logs` would: no rotation cuts it.
        path = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{PORT}/proxy/"
        self._reader = self._kubectl.start("get", "--raw", path)
        return self._reader

    def _wait_until_ready(self) -> str:
        """The name of the Job's pod, once it serves its lines.

        Raises LoadError.
        """
        until = time.monotonic() + START_TIMEOUT
        stuck = None
        while time.monotonic() < until:
            pods = self._kubectl.objects("get", "pods", "-n", self._namespace, "-l", f"job-name={NAME}")
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
            self._kubectl("patch", "job", NAME, "-n", self._namespace, "-p", '{"spec":{"suspend":true}}')
        except KubectlError as error:
            raise LoadError(f"The load's Job could not be told to stop. {error}") from error

    def clean(self) -> None:
        """Delete the Job and its pod."""
        if self._reader is not None:
            self._reader.kill()
            self._reader.wait()
        self._kubectl(
            "delete", "job", NAME, "-n", self._namespace, "--ignore-not-found", "--wait=false", timeout=60
        )

    def _no_start(self, reason: str) -> str:
        return (
            f"The load's Job did not start with the image {self._image}: {reason}\n"
            "`make load-image` builds and pushes it; REGISTRY=... names a registry that the nodes reach."
        )

    def _manifest(self, arguments: list[str]) -> Object:
        container = {
            "name": "load",
            "image": self._image,
            "args": [*arguments, "--port", str(PORT)],
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
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": NAME,
                "namespace": self._namespace,
                "labels": {"app": NAME},
                "annotations": {MADE_BY: EXPERIMENT},
            },
            "spec": {
                "backoffLimit": 0,
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
            },
        }
