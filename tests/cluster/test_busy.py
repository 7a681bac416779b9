"""A service with more slow requests than threads: busy pods are neither restarted nor unready."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest

from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.watch import Watch
from tests.cluster.conftest import Deploy
from tools.course.stage import Rung, Stage

CONNECTIONS = 200
"""Number of connections. v5 has 3 pods of 2 workers of 16 threads: half of the requests wait."""

LASTING = 120.0
"""Duration of the load, in seconds. A kubelet restarts a container after 3 failed probes, 10 s apart."""


def ask_again_and_again(url: str, over: threading.Event, responses: Counter[str]) -> None:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=90)
    while not over.is_set():
        try:
            connection.request("GET", "/api/sleep/5")
            response = connection.getresponse()
            response.read()
            said = str(response.status)
        except OSError as error:
            said = type(error).__name__
            connection.close()
        responses[said] += 1
    connection.close()


@pytest.mark.matrix
def test_busy_pods_are_neither_restarted_nor_unready(stage: Stage, deployed: Deploy) -> None:
    url = deployed(Rung("v5"))
    responses: Counter[str] = Counter()
    over = threading.Event()
    clients = [
        threading.Thread(target=ask_again_and_again, args=(url, over, responses)) for _ in range(CONNECTIONS)
    ]
    with Watch(stage.kubectl, stage.namespace, stage.deployment) as watch:
        began = time.monotonic()
        for each in clients:
            each.start()
        try:
            unready = watch.wait(
                lambda: any(pod.state is not State.READY for pod in watch.present()), LASTING
            )
            lasted = time.monotonic() - began
        finally:
            over.set()
            for each in clients:
                each.join()
    print(responses)
    assert not unready, f"a pod was unready after {lasted:.0f} s"
    pods = stage.kubectl.objects("get", "pods", "-n", stage.namespace)
    restarts = [each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]]
    assert restarts == [0] * 3
    assert set(responses) == {"200"}
    assert (
        responses["200"] > CONNECTIONS * LASTING / 5 / 4
    )  # the service responded at a quarter of the clients' rate at least
