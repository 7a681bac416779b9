"""Schedule of requests to reconnect, spread over a part of the drain: not all clients return at once."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gunicorn_drain.policy import DrainPolicy

FIRST, LAST, DEADLINE = 0.2, 0.6, 0.8
"""Shares of the policy's maximum that GoAwaySchedule.from_policy() uses.

At the first, most load balancers have stopped sending new connections here.
"""


@dataclass(frozen=True)
class GoAwaySchedule:
    """Times of notifying connections, in seconds since SIGTERM, and pauses before their clients reconnect.

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
        """Return the times at which to notify `count` connections, none before `elapsed` seconds.

        Spread evenly, and at random within each part, so that neither pods nor clients synchronize.
        Connections that are opened after `last` get half of the time that remains.
        """
        begin = max(self.first, elapsed)
        end = self.last if elapsed <= self.last else max(begin, (begin + self.deadline) / 2)
        # Random to spread, not for secrecy.
        moments = [begin + (end - begin) * (part + random.random()) / count for part in range(count)]  # noqa: S311
        random.shuffle(moments)
        return moments

    def retry(self) -> int:
        """Return the pause before one client reconnects, in milliseconds."""
        return round(1000 * random.uniform(self.retry_min, self.retry_max))  # noqa: S311 - as above
