"""kubectl's messages and objects."""

import io
import json
from typing import Any

import pytest

from kubectl_lossless.kubectl import KubectlError, documents, follow, unpacked


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Unable to connect to the server: net/http: TLS handshake timed out", "is it reachable and well?"),
        ("error: timed out waiting for the condition", "`kubectl events`"),
        ("error: You must be logged in to the server (Unauthorized)", "credentials in the kubeconfig"),
    ],
)
def test_message_of_kubectl_is_followed_by_its_remedy(said: str, remedy: str) -> None:
    message = str(KubectlError("kubectl rollout status deployment/web", said))
    assert said in message
    assert remedy in message.splitlines()[-1]


def test_unknown_message_of_kubectl_is_repeated_without_a_remedy() -> None:
    message = str(KubectlError("kubectl get pods", "error: something else"))
    assert message.splitlines() == ["`kubectl get pods` failed. kubectl said: error: something else"]


@pytest.mark.parametrize("indent", [None, 4])
def test_stream_of_objects_is_read_as_each_completes(indent: int | None) -> None:
    objects = [{"type": "ADDED", "object": {"a": [1, {"b": "}\n{"}]}}, {"type": "DELETED", "object": {}}]
    text = "".join(json.dumps(each, indent=indent) + "\n" for each in objects)
    assert list(follow(io.StringIO(text))) == objects
    assert documents(text) == objects


def test_lists_are_unpacked() -> None:
    assert documents('{"kind": "List", "items": [{"a": 1}, {"a": 2}]}\n{"a": 3}') == [
        {"a": 1},
        {"a": 2},
        {"a": 3},
    ]
    assert documents("") == []


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"kind": "Pod", "metadata": {"name": "a"}}, ["a"]),
        ({"kind": "List", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}, ["a", "b"]),
        ({"kind": "EventList", "items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "x"}}, ["a"]),
        ({"kind": "PodList", "items": []}, []),
        ({"kind": "AccessList", "metadata": {"name": "a"}}, ["a"]),  # a custom kind that is no list
    ],
)
def test_lists_of_every_kind_are_unpacked(document: dict[str, Any], names: list[str]) -> None:
    assert [each["metadata"]["name"] for each in unpacked(document)] == names
