"""The load as a Job in the cluster, for targets that only the cluster's own network reaches."""

import subprocess
import time

from rollout.kubectl import Kubectl, KubectlError, Object, to_list
from rollout.load.process import LoadError
from rollout.watch import stuck_of

NAME = "rollout-load"
START_TIMEOUT = 90.0  # seconds, the image's pull included


class Job:
    """The place of a load that runs as a Job; its lines are the Job's log."""

    def __init__(self, kubectl: Kubectl, namespace: str, image: str) -> None:
        """`image`: made by `make load-image`."""
        self._kubectl = kubectl
        self._namespace = namespace
        self._image = image
        self._log: subprocess.Popen[str] | None = None

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Create the Job and follow its log.

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
        until = time.monotonic() + START_TIMEOUT
        stuck = None
        while time.monotonic() < until:
            pods = self._kubectl.objects("get", "pods", "-n", self._namespace, "-l", f"job-name={NAME}")
            if any(pod["status"].get("phase") != "Pending" for pod in pods):
                break
            stuck = next((reason for pod in pods if (reason := stuck_of(pod))), stuck)
            if stuck and stuck.startswith(("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")):
                raise LoadError(self._no_start(stuck))
            time.sleep(0.5)
        else:
            raise LoadError(self._no_start(stuck or "no pod was created"))
        self._log = self._kubectl.start("logs", "--follow", f"job/{NAME}", "-n", self._namespace)
        return self._log

    def stop(self) -> None:
        """Send the load a SIGTERM; it is the container's process 1."""
        try:
            self._kubectl("exec", f"job/{NAME}", "-n", self._namespace, "--", "sh", "-c", "kill -TERM 1")
        except KubectlError as error:
            raise LoadError(f"The load's Job could not be told to stop. {error}") from error

    def clean(self) -> None:
        """Delete the Job and its pod."""
        if self._log is not None:
            self._log.kill()
            self._log.wait()
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
            "args": arguments,
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
            "terminationGracePeriodSeconds": 1,
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
            "metadata": {"name": NAME, "namespace": self._namespace, "labels": {"app": NAME}},
            "spec": {
                "backoffLimit": 0,
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
            },
        }
