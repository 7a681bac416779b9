"""The kubectl command as the only interface to the cluster. Only a context that was named is ever changed."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Any

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""

ADVICE = {
    "refused": "No cluster answers there: start it, or name another with --context or KUBECONFIG.",
    "no such host": "No cluster answers there: name another with --context or KUBECONFIG.",
    "i/o timeout": "No cluster answers there: is it reachable from this machine?",
    "timed out waiting for the condition": "`kubectl describe` and `kubectl events` say what is missing.",
    "timed out": "The cluster did not answer in time: is it reachable and well?",
    "cannot locate context": "`kubectl config get-contexts` lists the contexts there are.",
    "context was not found": "`kubectl config get-contexts` lists the contexts there are.",
    "does not exist": "`kubectl config get-contexts` lists the contexts there are.",
    "must be logged in": "The credentials in the kubeconfig are not accepted: renew them.",
    "unauthorized": "The credentials in the kubeconfig are not accepted: renew them.",
    "exceeded quota": "Raise the ResourceQuota of the namespace, or use another one.",
    "is forbidden": "This user may not do that: `kubectl auth can-i --list` shows what it may.",
    "provided port is already allocated": "Another Service has the node port: change one of them.",
    "no matches for kind": "The cluster does not know this kind of object: install what defines it.",
}


READS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            *("api-resources", "api-versions", "cluster-info", "describe", "events", "explain", "get"),
            *("help", "kustomize", "logs", "options", "top", "version", "wait"),
            *("completion", "__complete", "__completeNoDesc"),
        ),
        frozenset[str](),
    ),
    "auth": frozenset({"can-i", "whoami"}),
    "config": frozenset({"current-context", "get-clusters", "get-contexts", "get-users", "view"}),
    "lossless": frozenset({"completion", "doctor", "page"}),
    "plugin": frozenset({"list"}),
    "rollout": frozenset({"history", "status"}),
}
"""kubectl's commands that change nothing, with the subcommands of which that is true. All others count as
changes, as do those of later versions of kubectl."""

PROCESS = "/proc/1/cmdline"
"""File with the command line of PID 1."""

HARMLESS_FILE = re.compile(rf"{re.escape(PROCESS)}|/[^-].*\.py")
"""Files that may be read with `cat` in a container of a cluster that was not named: PID 1's command line, and
Gunicorn's configuration. No other command may be run there."""

WITH_VALUE = frozenset(
    {
        *("--as", "--as-group", "--as-uid", "--cache-dir", "--certificate-authority", "--client-certificate"),
        *("--client-key", "--cluster", "--context", "--kubeconfig", "--namespace", "--password", "--profile"),
        *("--profile-output", "--request-timeout", "--server", "--tls-server-name", "--token", "--user"),
        *("--username", "--v", "-n", "-s", "-v"),
    }
)
"""kubectl's global options whose value is the next argument."""


def changes(arguments: Sequence[str]) -> bool:
    """Return whether kubectl with these arguments may change a cluster; true where that is not sure."""
    words = iter(arguments)
    commands: list[str] = []
    for word in words:
        if word == "--":
            break
        if word in WITH_VALUE:
            next(words, None)
        elif word in ("--dry-run=client", "--dry-run=server"):
            return False
        elif not word.startswith("-"):
            commands.append(word)
        elif not commands and "=" not in word and word not in ("-h", "--help"):
            return True  # an option that may have taken the command for its value
    if not commands:
        return False  # it prints its help, or its version
    if commands[0] == "exec":
        inside = list(words)
        return not (len(inside) == 2 and inside[0] == "cat" and HARMLESS_FILE.fullmatch(inside[1]))
    if commands[0] not in READS:
        return True
    subcommands = READS[commands[0]]
    return bool(subcommands) and not (len(commands) > 1 and commands[1] in subcommands)


class KubectlError(Exception):
    """kubectl failed. The message is kubectl's, with the remedy where that is known."""

    def __init__(self, command: str, said: str) -> None:
        self.said = said.strip() or "nothing"
        advice = next((text for part, text in ADVICE.items() if part in said.lower()), "")
        super().__init__(f"`{command}` failed. kubectl said: {self.said}" + (f"\n{advice}" if advice else ""))

    @property
    def short(self) -> str:
        """The same in one line: the remedy, and the last line of kubectl's message."""
        last = self.said.splitlines()[-1]
        advice = next((text for part, text in ADVICE.items() if part in self.said.lower()), "")
        return f"{advice} kubectl said: {last}" if advice else f"kubectl said: {last}"


class ContextError(KubectlError):
    """The context is not named, or not in the kubeconfig."""

    def __init__(self, message: str) -> None:
        self.said = message
        Exception.__init__(self, message)

    @property
    def short(self) -> str:
        """The message."""
        return self.said


def documents(text: str) -> list[Object]:
    """Return the objects of concatenated JSON documents, Lists unpacked."""
    found: list[Object] = []
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        found += unpacked(document)
        text = text[end:].lstrip()
    return found


def unpacked(document: Object) -> list[Object]:
    """Return the objects of a list, or the one object.

    kubectl prints a List. Of more than 500 objects (`--chunk-size`) a watch prints the API server's own
    lists, for example an EventList for each 500 events.
    """
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        return list(document["items"])
    return [document]


def follow(stream: IO[str]) -> Iterator[Object]:
    """Yield the JSON documents of a stream, each as soon as it is complete."""
    text = ""
    for line in stream:
        text += line
        # A watch writes a line per document; kubectl's indented documents end with a separate line.
        if line.rstrip() == "}" or (line.startswith("{") and line.rstrip().endswith("}")):
            yield json.loads(text)
            text = ""


class Kubectl:
    """Runs kubectl against one context.

    `context`: its name. Without one kubectl's current context is read, and every change is refused.
    """

    def __init__(self, context: str | None = None) -> None:
        self.context = context
        self._base = ["kubectl", *(["--context", context] if context else [])]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 30.0) -> str:
        """Run one command and return its output.

        `timeout`: seconds. Raises KubectlError.
        """
        command = self._command(arguments)
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

    def _command(self, arguments: Sequence[str]) -> list[str]:
        command = [*self._base, *arguments]
        if self.context is None and changes(arguments):
            raise KubectlError(" ".join(command), "nothing: it was not run, because no context was named")
        return command

    def objects(self, *arguments: str, stdin: str | None = None) -> list[Object]:
        """Return the objects that a command prints with `-o json`."""
        return documents(self(*arguments, "-o", "json", stdin=stdin))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that does not end (a watch, a log), in a separate session.

        A Ctrl-C at the terminal does not reach it: it is its caller's to end.
        """
        return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            self._command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def check(self) -> str:
        """Return the version of the cluster.

        Raises KubectlError.
        """
        versions = json.loads(self("version", "-o", "json", "--request-timeout=10s"))
        return str(versions["serverVersion"]["gitVersion"])

    @property
    def namespace(self) -> str:
        """The context's namespace."""
        template = "{.contexts[0].context.namespace}"
        return self("config", "view", "--minify", "-o", f"jsonpath={template}").strip() or "default"

    @property
    def server(self) -> str:
        """The address of the context's API server, for people who have to recognise a cluster."""
        template = "{.clusters[0].cluster.server}"
        return self("config", "view", "--minify", "-o", f"jsonpath={template}").strip()


NO_CLUSTER = (
    "`kind create cluster` and `kind load docker-image IMAGE` create one on this machine and give it an "
    "image, without a registry; its context is kind-kind (README.md, On a cluster)."
)


def named(context: str | None) -> Kubectl:
    """Return a kubectl of the context of that name.

    Raises ContextError for no name and for one that the kubeconfig does not have; it lists the names.
    """
    contexts = Kubectl()("config", "get-contexts", "-o", "name").split()
    allowed = f"allowed are: {', '.join(contexts)}" if contexts else f"there is none yet. {NO_CLUSTER}"
    if not context:
        raise ContextError(
            f"The context of the cluster is not named (--context NAME, make CONTEXT=NAME); {allowed}"
        )
    if context not in contexts:
        raise ContextError(f"The context is {context!r}; {allowed}")
    return Kubectl(context)


def to_list(objects: Sequence[Object]) -> str:
    """Return objects as one document that `kubectl ... -f -` reads."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
