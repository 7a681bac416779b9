"""rollout/stage.py, as far as no cluster is needed: where the load finds the service."""

import threading

from rollout.stage import first_to_answer
from tests.rollout.conftest import Serve


def test_a_pod_that_is_ready_before_it_listens_is_waited_for(serve: Serve) -> None:
    """As v1's are; a load from inside the cluster instead would be another experiment."""
    nobody, late = serve("refuse"), serve("refuse")
    nobody.misbehave()
    late.misbehave()
    listens = threading.Timer(0.5, late.recover)
    listens.start()
    try:
        assert first_to_answer([nobody.url, late.url], None, 20) == late.url
    finally:
        listens.join()


def test_nodes_that_never_answer_are_given_up(serve: Serve) -> None:
    nobody = serve("refuse")
    nobody.misbehave()
    assert first_to_answer([nobody.url], None, 0.3) is None
    assert first_to_answer([], None) is None
