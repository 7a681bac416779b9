"""Clients that load a service at a steady rate, retry nothing, and keep every failure.

    with Load("http://10.0.0.1:30007") as load:  # returns when every client has had an answer
        subprocess.run(["kubectl", "drain", "node1"], check=True)
    assert load.result.lost == 0

The load is a process of its own (Locust on gevent), or a Job in the cluster; the caller's process is
never monkey patched. `python -m rollout.load --help` runs it by hand.
"""

from rollout.load.clients import CLIENTS, DEFAULT_MIX, LONG_MIX, Client, Mix, mix_from_text
from rollout.load.process import Load, LoadError, Local
from rollout.load.record import Answer, Closed, Failure, Kind, Result

__all__ = [
    "CLIENTS",
    "DEFAULT_MIX",
    "LONG_MIX",
    "Answer",
    "Client",
    "Closed",
    "Failure",
    "Kind",
    "Load",
    "LoadError",
    "Local",
    "Mix",
    "Result",
    "mix_from_text",
]
