"""PartialHeaders decides exactly when Gunicorn's parser needs no more data."""

from __future__ import annotations

import itertools
import os
import random
import time

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from gunicorn_fast.connection import HeaderLimits, PartialHeaders
from tests.process.test_fuzz import broken
from tests.process.test_hostile import INCOMPLETE, ODDITIES

SEED = int(os.environ.get("FUZZ_SEED", "20270101"))
CASES = int(os.environ.get("FUZZ_CASES", "4000")) // 4

CONFIGURATIONS: dict[str, dict[str, object]] = {
    "default": {},
    "small": {"limit_request_line": 30, "limit_request_fields": 2, "limit_request_field_size": 20},
    "unlimited": {"limit_request_line": 0, "limit_request_field_size": 0},
    "lenient": {
        "permit_unconventional_http_method": True,
        "permit_unconventional_http_version": True,
        "casefold_http_method": True,
    },
}


class NeedsMoreError(Exception):
    """The parser needs data that has not arrived."""


class Arrived(Unreader):
    """Data that has arrived so far."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        raise NeedsMoreError


def configuration(**settings: object) -> Config:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    return cfg


def gunicorn_waits(cfg: Config, data: bytes) -> bool:
    """Return whether Gunicorn's parser, with all of `data`, waits for more."""
    unreader = Arrived()
    unreader.unread(data)
    try:
        Request(cfg, unreader, ("127.0.0.1", 1))
    except NeedsMoreError:
        return True
    except Exception:  # noqa: BLE001 - a refusal
        return False
    return False


def ours_waits(limits: HeaderLimits, pieces: list[bytes]) -> tuple[bool, int]:
    """Return whether PartialHeaders waits after `pieces`, and the number of bytes that it has by then."""
    headers = PartialHeaders(limits)
    try:
        for piece in pieces:
            if headers.add(piece):
                return False, len(headers.data)
    except Exception:  # noqa: BLE001 - a refusal
        return False, len(headers.data)
    return True, len(headers.data)


def pieces_of(data: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))})
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_prefix_of_the_corpus_is_decided_as_by_gunicorn(name: str) -> None:
    cfg = configuration(**CONFIGURATIONS[name])
    limits = HeaderLimits(cfg)
    for said in (*ODDITIES.values(), *INCOMPLETE):
        headers, waits = PartialHeaders(limits), True
        for length in range(1, min(len(said), 600) + 1):
            if waits:
                try:
                    waits = not headers.add(said[length - 1 : length])
                except Exception:  # noqa: BLE001 - a refusal
                    waits = False
            theirs = gunicorn_waits(cfg, said[:length])
            # The one difference: Gunicorn notices headers above its limit with the next read only.
            assert waits is theirs or (theirs and length > limits.headers), said[:length]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_broken_requests_in_any_pieces_are_decided_as_by_gunicorn(name: str) -> None:
    cfg, chance = configuration(**CONFIGURATIONS[name]), random.Random(SEED)
    limits, seen = HeaderLimits(cfg), {True: 0, False: 0}
    for _ in range(CASES):
        said = broken(chance)
        said = said[: chance.randrange(len(said) + 1)] or b"G"
        theirs = gunicorn_waits(cfg, said)
        ours, taken = ours_waits(limits, pieces_of(said, chance))
        assert ours is theirs or (theirs and len(said) > limits.headers), (said[:300], len(said), taken)
        seen[ours] += 1
    assert all(seen.values())


@pytest.mark.parametrize("name", ["default", "small"])
def test_headers_are_refused_at_the_limits_of_gunicorn(name: str) -> None:
    """One byte more than Gunicorn's limit on buffered headers is refused, and not one byte less."""
    limits = HeaderLimits(configuration(**CONFIGURATIONS[name]))
    line = b"GET / HTTP/1.1\r\n"
    assert ours_waits(limits, [line, b"A" * limits.headers]) == (True, len(line) + limits.headers)
    assert ours_waits(limits, [line, b"A" * (limits.headers + 1)])[0] is False
    assert ours_waits(limits, [b"G" * (limits.line + 2)])[0] is True
    assert ours_waits(limits, [b"G" * (limits.line + 3)])[0] is False


def test_headers_that_arrive_byte_by_byte_are_scanned_once() -> None:
    limits = HeaderLimits(configuration())
    data = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 30_000

    def seconds(count: int) -> float:
        headers, began = PartialHeaders(limits), time.process_time()
        for position in range(count):
            headers.add(data[position : position + 1])
        return time.process_time() - began

    seconds(1000)
    short, long = min(seconds(15_000) for _ in range(3)), min(seconds(150_000) for _ in range(3))
    assert long < 40 * short  # a scan from the beginning each time would take 100 times as long
