"""This service with a counter of SERIES label values, as an application with many metrics has."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter

from app import create_app

app = create_app()

# Its values are in the workers' files whatever the registry: each process has all of them.
_counter = Counter("bench", "Series of a benchmark.", ["number"], registry=CollectorRegistry())
for _number in range(int(os.environ["SERIES"])):
    _counter.labels(str(_number)).inc()
