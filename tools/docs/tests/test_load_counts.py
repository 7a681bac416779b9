"""tools.docs.load_counts: requests and failures are read from each generator's report as it prints them."""

from __future__ import annotations

import json

import pytest

from tools.docs import figures
from tools.docs.load_counts import TOOLS, Count, table

AB = """
Complete requests:      1000
Failed requests:        {failed}
   (Connect: 0, Receive: 0, Length: {failed}, Exceptions: 0)
"""
AB_GIVES_UP = """Benchmarking 127.0.0.1 (be patient)

Test aborted after 10 failures

apr_socket_connect(): Connection reset by peer (104)
Total of 3782 requests completed
"""
FORTIO = """Ended after 12s : 2400 calls. qps=199.99
Code  -1 : 24 (1.0 %)
Code 200 : 2366 (98.6 %)
Code 503 : 10 (0.4 %)
All done 2400 calls (plus 8 warmup) 1.9 ms avg, 200.0 qps
"""
HEY = """
Status code distribution:
  [200]\t2000 responses
  [503]\t56 responses

Error distribution:
  [240]\tGet "http://127.0.0.1:4000/api": EOF
"""
K6 = """
    http_req_failed................: 0.82%  184 out of 22256
    http_reqs......................: 22256  1854.5/s
"""
WRK = """
  34434 requests in 12.01s, 6.17MB read
  Socket errors: connect 1, read 20, write 300, timeout 2
  Non-2xx or 3xx responses: 4500
"""


@pytest.mark.parametrize(
    ("name", "report", "count"),
    [
        ("curl loop", "200\n200\n000\n503\n", Count(4, 2)),
        ("fortio", FORTIO, Count(2400, 34)),
        ("ab", AB.format(failed=742), Count(1000, 742)),
        ("ab", AB_GIVES_UP, Count(3782, 10, aborted=True)),
        ("hey", HEY, Count(2296, 296)),
        ("k6", K6, Count(22256, 184)),
        ("wrk", WRK, Count(34434, 4823)),
        ("wrk", "  100 requests in 1.00s, 6.17MB read\n", Count(100, 0)),
    ],
)
def test_report_is_read(name: str, report: str, count: Count) -> None:
    assert TOOLS[name].read(report) == count


def test_page_has_a_row_for_each_generator_that_was_run() -> None:
    measured = json.loads((figures.KEPT / "load-tools.json").read_text())
    assert set(measured) == set(TOOLS)
    assert [row[0] for row in table(measured)[1:]] == [f"`{name}`" for name in measured]
    assert all(runs["on"]["failed"] == 0 for name, runs in measured.items() if name != "ab")
    assert measured["ab"]["on"]["failed"] > 0
