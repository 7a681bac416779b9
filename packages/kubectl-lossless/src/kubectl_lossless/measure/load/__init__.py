"""Clients that load a service at a steady rate, retry nothing, and keep every failure.

    clients = general(rps=20, connections=10, kinds=["new", "busy"], targets=[0])
    with Load(Plan((Target.of("https://shop.example/api"),), tuple(clients))) as load:
        subprocess.run(["kubectl", "drain", "node1"], check=True)
    assert load.result.lost == 0

Entering the block returns when every client has had a response. The load is a separate process, whose
threads do not wait for those of the caller, or a Job in the cluster.
"""

from kubectl_lossless.measure.load.clients import KINDS, Client, Mix, Plan, general, slow
from kubectl_lossless.measure.load.lost import Kind, Lost
from kubectl_lossless.measure.load.process import Load, LoadError, Local
from kubectl_lossless.measure.load.record import Closed, Failure, Response, Result
from kubectl_lossless.measure.load.target import Target, ranges

__all__ = [
    "KINDS",
    "Client",
    "Closed",
    "Failure",
    "Kind",
    "Load",
    "LoadError",
    "Local",
    "Lost",
    "Mix",
    "Plan",
    "Response",
    "Result",
    "Target",
    "general",
    "ranges",
    "slow",
]
