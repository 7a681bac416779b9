"""Longer intervals of gunicorn-fast and gunicorn-drain: under callgrind a program runs 50 times slower.

Otherwise the work of each interval would be divided among 50 times fewer requests, and every request would
be slow: the leader would pass it to another thread.
"""

from gunicorn_drain import send_timeout
from gunicorn_fast import leader_followers

SLOWER = 500
"""Factor of all intervals, also for a machine that others use."""

_run = leader_followers.LeaderFollowers.run

leader_followers.LeaderFollowers.run = lambda self, timeout: _run(self, timeout * SLOWER)  # type: ignore[method-assign]
leader_followers.BLOCKED_AFTER *= SLOWER
leader_followers.TURN *= SLOWER
send_timeout.INTERVAL *= SLOWER
