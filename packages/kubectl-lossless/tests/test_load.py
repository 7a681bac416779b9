"""The whole load, as a process, against a server process: every failure is counted, and nothing else."""

import http.client
import json
import os
import subprocess
import sys

import pytest
from servers import Serve, load_on, plan_of

from kubectl_lossless.measure.load import Closed, Failure, Kind, LoadError, Local, Response
from kubectl_lossless.measure.load.process import PLAN
from kubectl_lossless.measure.load.record import from_line, to_line
from tests.ports import reserve_port
from tests.waiting import wait_until

SMALL = {"new": 2, "busy": 2, "idle": 2}


def test_good_service_loses_nothing(serve: Serve) -> None:
    with load_on(serve("well").url, SMALL) as load:
        wait_until(lambda: load.result.requests >= 100, "100 requests")
    result = load.result
    assert (result.lost, result.closed) == (0, [])
    assert {response.client for response in result.responses} == set(SMALL)
    assert result.versions() == {"v1": result.requests}
    assert result.steady is not None
    assert result.ended is not None
    assert result.started <= result.steady < result.ended
    assert all(
        result.started <= response.at < result.ended and response.ms > 0 for response in result.responses
    )


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("refuse", Kind.REFUSED),
        ("reset", Kind.RESET),
        ("close", Kind.CLOSED),
        ("unavailable", Kind.SERVER_ERROR),
        ("stall", Kind.TIMEOUT),
        ("missing", Kind.OTHER),
    ],
)
def test_every_failure_is_kept_with_its_kind(serve: Serve, behaviour: str, kind: Kind) -> None:
    server = serve(behaviour)
    # A server that stalls is waited for; any other response may take longer on a busy machine.
    with load_on(server.url, SMALL, timeout=1 if kind is Kind.TIMEOUT else 20) as load:
        server.misbehave()
        wait_until(lambda: load.result.lost_kinds()[kind] >= 3, f"3 times {kind}")
        server.recover()
        seen = load.result.requests
        wait_until(lambda: load.result.requests > seen + 30, "requests after the recovery")
    # A listener that closes resets the connections that wait in its accept queue.
    also = {Kind.RESET} if kind is Kind.REFUSED else set()
    assert {kind} <= set(load.result.lost_kinds()) <= {kind} | also
    assert all(load.result.started <= failure.at for failure in load.result.failures)
    assert load.result.versions()["v1"] == load.result.requests - load.result.lost


def test_idle_connection_closed_without_notice_is_no_lost_request(serve: Serve) -> None:
    server = serve("unannounced")
    with load_on(server.url, {"idle": 4}) as load:
        server.misbehave()
        wait_until(lambda: len(load.result.closed) >= 4, "4 closes")
    assert load.result.lost == 0
    assert {closed.client for closed in load.result.closed} == {"idle"}


def test_announced_close_counts_as_nothing(serve: Serve) -> None:
    server = serve("announce")
    with load_on(server.url, {"busy": 2, "idle": 2}) as load:
        server.misbehave()
        seen = load.result.requests
        wait_until(lambda: load.result.requests > seen + 40, "requests")
    assert (load.result.lost, load.result.closed) == (0, [])


def test_request_in_flight_at_the_end_is_not_cut_off(serve: Serve) -> None:
    server = serve("stall")
    with load_on(server.url, {"new": 1}, timeout=1) as load:
        server.misbehave()
        wait_until(lambda: load.result.lost, "a timeout")
        # The next request stalls now; stopping must wait for it, and it must be counted.
    assert set(load.result.lost_kinds()) == {Kind.TIMEOUT}


def test_load_without_any_response_is_an_error_with_the_first_failure(serve: Serve) -> None:
    server = serve("close")
    server.misbehave()
    with (
        pytest.raises(LoadError, match=r"within 10 s\. Responses: 0; lost: .*closed before a response"),
        load_on(server.url, {"new": 1}, timeout=1, patience=9),
    ):
        pytest.fail("not reached")


def test_load_ends_when_its_reader_has_been_killed(serve: Serve) -> None:
    command = [sys.executable, "-m", "kubectl_lossless.measure.load"]
    environment = {**os.environ, PLAN: plan_of(serve("well").url, {"new": 1}).to_json()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as load:
        try:
            assert load.stdout is not None
            assert json.loads(load.stdout.readline())["is"] == "started"
            load.stdout.close()
            assert load.wait(timeout=30) == 1
        finally:
            load.kill()


def test_load_that_cannot_start_reports_the_reason() -> None:
    with pytest.raises(ValueError, match="is no URL"), load_on("ftp://nowhere", {"new": 1}):
        pytest.fail("not reached")


def test_load_that_dies_is_an_error(serve: Serve) -> None:
    place = Local()
    load = load_on(serve("well").url, SMALL, place=place)
    with pytest.raises(LoadError, match="ended early"), load:
        place.clean()


def test_error_within_the_with_block_is_raised(serve: Serve) -> None:
    with pytest.raises(ZeroDivisionError), load_on(serve("well").url, SMALL):
        _ = 1 / 0


def test_load_in_the_cluster_serves_its_lines_until_the_last(serve: Serve) -> None:
    """As the Job runs it; here without the cluster around it."""
    port = reserve_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "kubectl_lossless.measure.load", "--port", str(port)],
        env={**os.environ, PLAN: plan_of(serve("well").url, {"new": 2}).to_json()},
    )
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

        def connected() -> bool:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return False
            return True

        wait_until(connected, "the load's port")
        connection.request("GET", "/")
        response = connection.getresponse()
        lines = [json.loads(response.readline()) for _ in range(20)]  # they come while it runs
        process.terminate()
        lines += [json.loads(line) for line in response]
        connection.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert [lines[0]["is"], lines[-1]["is"]] == ["started", "ended"]
    assert lines[-1]["records"] == sum(line["is"] == "response" for line in lines)


def test_records_survive_their_line() -> None:
    for record in (
        Response(1.5, "new", 2.25, "v1", "pod"),
        Failure(1.5, "busy", 2.25, Kind.RESET, "detail", kept=True),
        Closed(3.5, "idle"),
    ):
        assert from_line(json.loads(to_line(record))) == record


def test_part_of_a_result_keeps_the_requests_sent_in_its_time(serve: Serve) -> None:
    with load_on(serve("well").url, {"new": 2}) as load:
        wait_until(lambda: load.result.requests >= 30, "30 requests")
    middle = load.result.responses[10].at
    parts = load.result.between(0, middle), load.result.between(middle, middle + 1e6)
    assert sum(part.requests for part in parts) == load.result.requests
    assert min(part.requests for part in parts) > 0
