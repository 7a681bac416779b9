"""For how long routes lead to a terminating pod."""

from __future__ import annotations

import pytest

from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Failure, Response, Result
from kubectl_lossless.measure.pod import Mark, Pod, State
from kubectl_lossless.measure.propagation import ENDPOINTS, refuse_unseen, termination_of
from kubectl_lossless.measure.workload import RolloutError

POD = Pod(
    "a",
    "1",
    "r",
    states=[(90, State.READY), (100, State.DRAINING), (106, State.GONE)],
    marks=[(100.02, Mark.NO_ENDPOINT)],
)


def result(*records: Response | Failure) -> Result:
    found = Result("http://x", {"new": 1})
    for record in records:
        found.add(record)
    return found


def lost(at: float) -> Failure:
    return Failure(at, "new", 900.0, Kind.RESET, "", kept=False)


def test_route_leads_to_the_pod_until_its_last_response() -> None:
    responses = [
        Response(99, "new", 1, "", "a"),
        Response(100.7, "new", 1, "", "a"),
        Response(103, "new", 1, "", "b"),
    ]
    found = termination_of(POD, {"edge": result(*responses)})
    assert found.updated == {ENDPOINTS: 0.02, "edge": 0.7}
    assert found.gone == 6.0


def test_route_whose_responses_name_no_pod_is_judged_by_its_losses() -> None:
    records: list[Response | Failure] = [Response(99, "new", 1, "", ""), lost(99.9), lost(100.4), lost(120)]
    assert termination_of(POD, {"edge": result(*records)}).updated["edge"] == 0.4
    assert termination_of(POD, {"edge": result(lost(120))}).updated["edge"] == 0.0


def test_route_on_which_nothing_shows_is_refused() -> None:
    refuse_unseen({"edge": result(lost(1))})
    refuse_unseen({"edge": result(Response(99, "new", 1, "", "a"))})
    with pytest.raises(RolloutError, match="edge: responses do not name their pod"):
        refuse_unseen({"edge": result(Response(99, "new", 1, "", ""))})
