"""LeaderFollowers without Gunicorn: examples, and a model with random schedules."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunicorn_fast.leader_followers import Completion, LeaderFollowers, PoolThread
from tests.waiting import wait_until

LIMIT = 30.0
"""Timeout of everything that a test waits for, in seconds."""

MORE_THAN_THE_ADDRESS_SPACE = 1 << 50
"""Stack size with which no thread can be started."""


@dataclass(eq=False)
class Request:
    """A request of the model. A slow one takes until `release` is set."""

    kind: str = "kind"
    may_block: bool = False
    slow: bool = False
    then: Request | None = None
    """The request that follows on the same connection."""
    release: threading.Event = field(default_factory=threading.Event)
    left: bool = False
    """True while polls do not report the request."""

    def leave_loop(self) -> None:
        self.left = True


class Model:
    """Event loop in memory that checks the guarantees of LeaderFollowers."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.stopping = False
        self.faults: list[str] = []
        self.served: Counter[Request] = Counter()
        self.completed: Counter[Request] = Counter()
        self._events: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._serving: set[Request] = set()
        self._in_loop = threading.Lock()
        self.pool = LeaderFollowers(threads, self.poll, self.serve, self.defer, lambda: self.stopping)

    @contextmanager
    def inside(self, what: str) -> Iterator[None]:
        """Check that one thread at a time is in the loop."""
        if not self._in_loop.acquire(blocking=False):
            self.faults.append(f"{what} while another thread is in the loop")
            yield
            return
        try:
            yield
        finally:
            self._in_loop.release()

    def poll(self, block: bool) -> None:
        with self.inside("poll"), self._changed:
            if reported := [each for each in self._serving if not each.left]:
                self.faults.append(f"poll while it reports {reported}, which are served")
            if block and not self._changed.wait_for(lambda: self._events, LIMIT):
                self.faults.append("a poll did not end")
            while self._events:
                self._events.popleft()()

    def serve(self, request: Request) -> Completion:
        with self._changed:
            self._serving.add(request)
            self.served[request] += 1
            if len(self._serving) > self.threads:
                self.faults.append(f"{len(self._serving)} requests are served at once")
        if request.slow and not request.release.wait(LIMIT):
            self.faults.append("a slow request was not released")
        with self._changed:
            self._serving.remove(request)
        return partial(self.complete, request)

    def complete(self, request: Request) -> None:
        # A deferred completion runs in a poll, which is in the loop already.
        if threading.current_thread() is not self._polling:
            with self.inside("complete"):
                self._complete(request)
        else:
            self._complete(request)

    _polling: threading.Thread | None = None

    def _complete(self, request: Request) -> None:
        self.completed[request] += 1
        if request.then is not None:
            self.pool.submit(request.then)

    def defer(self, completion: Completion) -> None:
        with self._changed:
            self._events.append(partial(self._deferred, completion))
            self._changed.notify_all()

    def _deferred(self, completion: Completion) -> None:
        self._polling = threading.current_thread()
        try:
            completion()
        finally:
            self._polling = None

    def send(self, *requests: Request) -> None:
        """Let one poll report all `requests`."""

        def report() -> None:
            for each in requests:
                self.pool.submit(each)

        self.defer(report)

    def settle(self) -> None:
        """Wait until all that was sent is served or queued, and no slow request keeps the leader."""
        try:
            wait_until(self._settled, "no request waits for a blocked leader", LIMIT, interval=0.001)
        except AssertionError as error:
            self.faults.append(str(error))

    def _settled(self) -> bool:
        with self._changed:
            return not self._events and not self.pool._arrived and self.pool._serving is None

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Run as Gunicorn's main thread does until `condition` holds: without its turns, it never would."""
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, "not reached in time"
            self.pool.run(0.02)


def chain(requests: list[Request]) -> Request:
    """Link requests of one connection."""
    for first, second in pairwise(requests):
        first.then = second
    return requests[0]


def links(first: Request) -> Iterator[Request]:
    request: Request | None = first
    while request is not None:
        yield request
        request = request.then


@contextmanager
def thread_limit(model: Model, started: int | None) -> Iterator[None]:
    """Let starts of threads fail when the pool has started a number of them."""
    if started is None:
        yield
        return
    slow = [Request(str(number), slow=True) for number in range(started - 1)]
    for each in slow:  # one more thread than serves them
        model.send(each)
    model.run_until(lambda: model.pool._started_threads >= min(started, model.threads + 1))
    before = threading.stack_size(MORE_THAN_THE_ADDRESS_SPACE)
    try:
        for each in slow:
            each.release.set()
        model.run_until(lambda: all(model.completed[each] for each in slow))
        for each in slow:
            del model.completed[each], model.served[each]
        yield
    finally:
        threading.stack_size(before)


requests = st.builds(
    Request, kind=st.sampled_from("abc"), may_block=st.booleans(), slow=st.sampled_from([False, False, True])
)
chains = st.lists(requests, min_size=1, max_size=3).map(chain)
steps = st.one_of(
    st.lists(chains, min_size=1, max_size=5),
    st.sampled_from(["settle", "release", "release last", "stop", "continue"]),
)
Schedule = list[list[Request] | str]


def play(model: Model, schedule: Schedule, sent: list[Request], may_settle: bool = True) -> None:
    """Execute a schedule's steps beside the main thread. `may_settle`: whether threads can be started."""
    for step in schedule:
        if isinstance(step, list):
            sent.extend(each for first in step for each in links(first))
            model.send(*step)
        elif step == "settle":
            if may_settle:
                model.settle()
        elif step.startswith("release"):
            slow = [each for each in sent if each.slow and model.served[each] and not each.release.is_set()]
            if slow:
                slow[-1 if step == "release last" else 0].release.set()
        else:
            model.stopping = step == "stop"
            model.pool.wake()
    if may_settle:
        model.settle()
    for each in sent:
        each.release.set()


@settings(max_examples=60, deadline=None)
@given(
    threads=st.integers(1, 3),
    schedule=st.lists(steps, min_size=3, max_size=20),
    started=st.one_of(st.none(), st.integers(1, 3)),
)
def test_each_request_is_served_once_and_the_loop_by_one_thread(
    threads: int, schedule: Schedule, started: int | None
) -> None:
    """Also if no more than `started` threads can be started."""
    for step in schedule:  # hypothesis may use a list again
        for request in (each for first in step for each in links(first)) if isinstance(step, list) else ():
            request.release, request.left = threading.Event(), False
    model, sent = Model(threads), list[Request]()
    player = threading.Thread(target=play, args=(model, schedule, sent, started is None))
    player.start()
    with thread_limit(model, started):
        model.run_until(lambda: not player.is_alive() and len(model.completed) == len(sent))
    player.join(LIMIT)
    model.pool.close()
    assert model.faults == []
    assert set(model.served.values()) | set(model.completed.values()) <= {1}
    assert set(model.served) == set(model.completed) == set(sent)
    assert model.pool.queued == 0


def test_slow_request_passes_the_loop_on() -> None:
    model, slow, quick = Model(2), Request(slow=True), Request("other")
    model.send(slow)
    model.run_until(lambda: model.served[slow] == 1)
    model.send(quick)
    model.run_until(lambda: model.completed[quick] == 1)
    assert not model.completed[slow]
    slow.release.set()
    model.run_until(lambda: model.completed[slow] == 1)
    model.pool.close()
    assert model.faults == []


def test_requests_beyond_the_threads_wait_in_the_queue() -> None:
    model, slow = Model(2), [Request(str(number), slow=True) for number in range(5)]
    for each in slow:
        model.send(each)
    model.run_until(lambda: model.pool.queued == 3)
    assert sum(model.served.values()) == 2
    for each in slow:
        each.release.set()
    model.run_until(lambda: len(model.completed) == 5)
    model.pool.close()
    assert model.faults == []


def test_sole_thread_of_a_pool_serves_requests_that_others_should(caplog: pytest.LogCaptureFixture) -> None:
    model, slow = Model(4), Request(slow=True)
    with thread_limit(model, 1):
        later = [Request("other"), Request("other", may_block=True)]
        model.send(slow)
        model.run_until(lambda: model.served[slow] == 1)
        model.send(*later)
        model.run_until(lambda: len(model.pool._arrived) == 2)  # the main thread polls meanwhile
        slow.release.set()
        model.run_until(lambda: len(model.completed) == 3)
    model.run_until(lambda: time.monotonic() > model.pool._start_after)
    slow_again = Request(slow=True)
    model.send(slow_again, Request("last"))
    model.run_until(lambda: len(model.completed) == 4)
    assert not model.completed[slow_again]
    slow_again.release.set()
    model.run_until(lambda: len(model.completed) == 5)
    model.pool.close()
    assert model.faults == []
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("A thread could not be started, 1 of 5 run: can't start new thread.")


def test_pool_without_any_thread_raises_the_error() -> None:
    before = threading.stack_size(MORE_THAN_THE_ADDRESS_SPACE)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            Model(2).pool.run(1)
    finally:
        threading.stack_size(before)


def test_exception_in_the_loop_ends_run() -> None:
    model = Model(2)

    def fail() -> None:
        raise ValueError("the loop breaks here")

    model.defer(fail)
    with pytest.raises(ValueError, match="breaks here"):
        model.run_until(lambda: False)


def test_idle_pool_wakes_the_main_thread_for_a_slow_request() -> None:
    """The main thread waits without checks by then, and only the leader can wake it."""
    model, slow, quick = Model(1), Request(slow=True), Request("other")
    thread = threading.Thread(target=model.pool.run, args=(LIMIT,), daemon=True)
    thread.start()
    wait_until(lambda: model.pool._idle, "the main thread waits without checks", LIMIT)
    model.send(slow)
    model.send(quick)
    wait_until(
        lambda: slow.left and model.pool.queued == 1, "the slow request is left, the quick one queued", LIMIT
    )
    slow.release.set()
    wait_until(lambda: model.completed[quick], "the quick request is served", LIMIT)


def test_turn_without_time_calls_deferred_functions() -> None:
    """A stopping gthread gives no time once a kept connection's timeout has passed."""
    model = Model(2)
    for _ in range(100):
        called: list[bool] = []
        model.defer(partial(called.append, True))
        model.pool.run(0)
        assert called
    model.pool.close()
    assert model.faults == []


def test_stopping_pool_with_nothing_to_do_waits() -> None:
    """Ending a poll must not leave bytes that end the next one, or a stopping worker polls all the time."""
    model, turns = Model(2), 0
    model.stopping = True
    model.defer(lambda: None)  # ends a poll before the main thread does
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        model.pool.run(0.05)
        turns += 1
    model.pool.close()
    assert model.faults == []
    assert turns <= 20  # 10, and some that end early because a poll ends at the same time


class Window:
    """Lock that records the state that other threads may see each time it is released."""

    def __init__(self, pool: LeaderFollowers[Request]) -> None:
        self.lock, self.pool = threading.Lock(), pool
        self.seen: list[tuple[Request | None, PoolThread | None]] = []

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.seen.append((self.pool._serving, self.pool._leader))
        self.lock.release()


def test_replaced_leader_never_sees_itself_leading() -> None:
    """Otherwise it continues with the loop while the successor begins, and a connection is served twice."""
    pool = Model(1).pool
    replaced, successor = PoolThread(pool._lead, 1), PoolThread(pool._lead, 2)
    window: Any = Window(pool)
    pool._lock = window
    pool._leader, pool._followers, pool._started_threads = replaced, [successor], 2
    pool._serving = Request()
    pool._promote_if_blocked(pool._served)
    assert window.seen
    assert all(leader is successor for serving, leader in window.seen if serving is None)
    assert pool._leader is successor
    assert successor.call.acquire(blocking=False)  # the successor was called


def test_signal_handler_that_outlasts_the_wait_only_ends_the_wait() -> None:
    """Otherwise the main thread waits for ever: no heartbeat, no more signals handled, no stop."""
    pool, interrupted = Model(1).pool, threading.Event()

    def slow(*_: object) -> None:
        interrupted.set()
        time.sleep(0.2)  # the duration of the handler, not a wait for an event

    def others() -> None:
        time.sleep(0.02)  # into the wait
        os.kill(os.getpid(), signal.SIGUSR1)
        over.wait(10)
        pool.wake()  # so that a failure is no hang

    over, thread = threading.Event(), threading.Thread(target=others)
    before = signal.signal(signal.SIGUSR1, slow)
    signal.siginterrupt(signal.SIGUSR1, False)  # as Gunicorn does with SIGTERM
    try:
        thread.start()
        began = time.monotonic()
        while not interrupted.is_set():
            pool.wait(0.1)
        took = time.monotonic() - began
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert took < 5
