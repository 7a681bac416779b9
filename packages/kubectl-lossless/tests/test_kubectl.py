"""The remedies that follow kubectl's messages."""

import pytest

from kubectl_lossless.kubectl import KubectlError


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
