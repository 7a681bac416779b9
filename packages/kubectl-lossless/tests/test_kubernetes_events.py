"""What the cluster recorded of a workload."""

from typing import Any

from kubectl_lossless.measure.events import Events, ReplicaSets


def event(uid: str, name: str, message: str = "Stopping container web") -> dict[str, Any]:
    about = {"kind": "Pod", "name": name}
    return {"metadata": {"uid": uid}, "involvedObject": about, "reason": "Killing", "message": message}


def test_events_of_the_workload_are_kept_once() -> None:
    events = Events("web")
    events.take("LISTED", event("1", "web-a"))  # from before
    for found in (event("1", "web-a"), event("2", "web-a"), event("2", "web-a"), event("3", "webshop-a")):
        events.take("ADDED", found)
    assert [(each.object, each.reason) for each in events.kept] == [("Pod/web-a", "Killing")]


def replicaset(name: str, replicas: int, owner: str = "web") -> dict[str, Any]:
    return {"metadata": {"name": name, "ownerReferences": [{"name": owner}]}, "spec": {"replicas": replicas}}


def test_each_change_of_the_size_of_a_replicaset_is_kept() -> None:
    replicasets = ReplicaSets("web")
    for found in (
        replicaset("web-a", 2),
        replicaset("shop-a", 9, "shop"),
        replicaset("web-b", 1),
        replicaset("web-a", 2),
        replicaset("web-a", 1),
    ):
        replicasets.take("MODIFIED", found)
    replicasets.take("DELETED", replicaset("web-a", 0))
    assert [(each.replicaset, each.replicas) for each in replicasets.changes] == [
        ("web-a", 2),
        ("web-b", 1),
        ("web-a", 1),
    ]
