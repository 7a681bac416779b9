"""Schedule of asking clients to reconnect, spread over a part of the drain: not all return at once."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gunicorn_drain.policy import DrainPolicy

FIRST, LAST, DEADLINE = 0.2, 0.6, 0.8
"""Shares of the policy's maximum that GoAwaySchedule.from_policy() uses.

By the first, load balancers have mostly stopped to send new connections here.
"""


@dataclass(frozen=True)
class GoAwaySchedule:
    """Times to notify connections, in seconds since SIGTERM, and pauses before their clients reconnect.

    `0 <= first <= last <= deadline`: the share that is notified grows evenly from `first` to `last`;
    connections that are open at `deadline` are closed. Clients wait `retry_min` to `retry_max` seconds.
    """

    first: float
    last: float
    deadline: float
    retry_min: float = 0.5
    retry_max: float = 3.0

    @classmethod
    def from_policy(cls, policy: DrainPolicy) -> GoAwaySchedule:
        """Create a schedule that fits into a drain of this policy."""
        return cls(*(share * policy.maximum for share in (FIRST, LAST, DEADLINE)))

    def moments(self, count: int, elapsed: float) -> list[float]:
        """Return for each of `count` connections when to notify it, not before `elapsed` seconds.

        Evenly, and at random within its part, so that neither pods nor clients fall into step. Connections
        that are opened after `last` get half of the time that remains.
        """
        begin = max(self.first, elapsed)
        end = self.last if elapsed <= self.last else max(begin, (begin + self.deadline) / 2)
        # At random to spread, not to hide.
        moments = [begin + (end - begin) * (part + random.random()) / count for part in range(count)]  # noqa: S311
        random.shuffle(moments)
        return moments

    def retry(self) -> int:
        """Return how long one client is to wait before it reconnects, in milliseconds."""
        return round(1000 * random.uniform(self.retry_min, self.retry_max))  # noqa: S311 - as above
