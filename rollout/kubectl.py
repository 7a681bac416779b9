"""kubectl, the one way to the cluster: whatever context it points to works."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Any

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""

ADVICE = {
    "refused": "No cluster answers there: start it, or name another with --context or KUBECONFIG.",
    "no such host": "No cluster answers there: name another with --context or KUBECONFIG.",
    "i/o timeout": "No cluster answers there: is it reachable from this machine?",
    "timed out": "The cluster did not answer in time: is it reachable and well?",
    "context was not found": "`kubectl config get-contexts` lists the contexts there are.",
    "does not exist": "`kubectl config get-contexts` lists the contexts there are.",
    "must be logged in": "The credentials in the kubeconfig are not accepted: renew them.",
    "unauthorized": "The credentials in the kubeconfig are not accepted: renew them.",
    "exceeded quota": "Raise the ResourceQuota of the namespace, or use another one.",
    "is forbidden": "This user may not do that: `kubectl auth can-i --list` shows what it may.",
    "provided port is already allocated": "Another Service has the node port: change one of them.",
    "no matches for kind": "The cluster does not know this kind of object: install what defines it.",
}


class KubectlError(Exception):
    """kubectl failed. The message is what it said, and what to do about it where that is known."""

    def __init__(self, command: str, said: str) -> None:
        self.said = said.strip() or "nothing"
        advice = next((text for part, text in ADVICE.items() if part in said.lower()), "")
        super().__init__(f"`{command}` failed. kubectl said: {self.said}" + (f"\n{advice}" if advice else ""))


def documents(text: str) -> list[Object]:
    """The objects in JSON documents one after the other, Lists unpacked."""
    found: list[Object] = []
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        found += document["items"] if document.get("kind") == "List" else [document]
        text = text[end:].lstrip()
    return found


def follow(stream: IO[str]) -> Iterator[Object]:
    """The JSON documents of a stream, each as soon as it is complete."""
    text = ""
    for line in stream:
        text += line
        # A watch writes a line per document; what kubectl indents ends with a line of its own.
        if line.rstrip() == "}" or (line.startswith("{") and line.rstrip().endswith("}")):
            yield json.loads(text)
            text = ""


class Kubectl:
    """Runs kubectl against one context."""

    def __init__(self, context: str | None = None) -> None:
        self._base = ["kubectl", *(["--context", context] if context else [])]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 30.0) -> str:
        """Run one command and return its output.

        `timeout`: seconds. Raises KubectlError.
        """
        command = [*self._base, *arguments]
        shown = " ".join(command)
        try:
            done = subprocess.run(  # noqa: S603 - our own arguments, no shell
                command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
            )
        except FileNotFoundError:
            raise KubectlError(shown, "kubectl is not installed, or not on PATH") from None
        except subprocess.TimeoutExpired:
            raise KubectlError(shown, f"timed out after {timeout:.0f} s") from None
        if done.returncode:
            raise KubectlError(shown, done.stderr or done.stdout)
        return done.stdout

    def objects(self, *arguments: str, stdin: str | None = None) -> list[Object]:
        """The objects that a command prints with `-o json`."""
        return documents(self(*arguments, "-o", "json", stdin=stdin))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on (a watch, a log), in a session of its own.

        A Ctrl-C at the terminal does not reach it: it is its caller's to end.
        """
        return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [*self._base, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def check(self) -> str:
        """Whether there is a cluster: its version.

        Raises KubectlError.
        """
        versions = json.loads(self("version", "-o", "json", "--request-timeout=10s"))
        return str(versions["serverVersion"]["gitVersion"])


def to_list(objects: Sequence[Object]) -> str:
    """Objects as one document that `kubectl ... -f -` reads."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
