"""Requests no SDK would send → the compiled decoder and the reference say the same of each.

`SPANWARD_FUZZ_CASES` is how many cases a seed tries: 5,000 by default, far more in a nightly run with `--timeout 0`.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.receivers.decode import RowLimits
from tests.captures_on_disk import emitters, requests
from tests.collector.receivers.agreement import LIMITS, agree
from tests.collector.receivers.odd_requests import CHANCES, NOW_NS, OddRequests, damage
from tests.otlp import CHAT, span, traces

CASES = int(os.environ.get("SPANWARD_FUZZ_CASES", "5000"))
GROUP = 25

# As served, and so narrow that attributes, texts and lists are often just over or under a limit.
MANY_LIMITS = (LIMITS, LIMITS, RowLimits(4, 30, 0), RowLimits(10, 200, 10**9))


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(CHANCES), st.sampled_from(MANY_LIMITS))
def test_whatever_hypothesis_thinks_of_is_read_alike(random: Random, chance: float, limits: RowLimits) -> None:
    agree([OddRequests(random, chance).request()], limits=limits)


@pytest.mark.parametrize("seed", range(4))
def test_odd_requests_are_read_alike(seed: int) -> None:
    def odd(random: Random) -> bytes:
        return OddRequests(random, random.choice(CHANCES)).request()

    # Some are odd in nothing, so the kernels must have read some: else nothing was compared.
    assert fuzz(Random(seed), odd) > CASES // 10


@pytest.mark.parametrize("seed", range(4))
def test_damaged_requests_are_read_alike(seed: int) -> None:
    whole = list(small_requests(seed))

    def damaged(random: Random) -> bytes:
        body = bytearray(random.choice(whole))
        for _ in range(random.randrange(4)):
            damage(random, body)
        return bytes(body)

    assert fuzz(Random(seed), damaged) > CASES // 10


def fuzz(random: Random, make: Callable[[Random], bytes]) -> int:
    """Compare `CASES` requests, several to a group as in service; how many rows the kernels read."""
    read = 0
    for start in range(0, CASES, GROUP):
        bodies = [make(random) for _ in range(min(GROUP, CASES - start))]
        read += agree(bodies, limits=random.choice(MANY_LIMITS))[0]
    return read


def small_requests(seed: int) -> Iterator[bytes]:
    """What real exporters sent, no more than 20 kB of it at once, and a few made by hand."""
    for emitter in emitters():
        sent = (request.body for request in requests(emitter) if request.signal == "traces" and not request.as_json)
        yield from islice((body for body in sent if len(body) < 20_000), 2)
    attributes = {**CHAT, "list": ["a", "b"], "n": 7, "x": 0.5, "": "", "größe": "日本語"}
    yield traces(span(attributes, start_ns=NOW_NS)).SerializeToString()
    yield OddRequests(Random(seed), 0).request()


def test_no_kernel_reads_or_writes_outside_an_array(tmp_path: Path) -> None:
    """Compiled with Numba's own bounds checks, the same cases raise no IndexError."""
    again = [__file__, "-k", "odd_requests or damaged_requests", "-q", "-p", "no:cacheprovider"]
    environment = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "SPANWARD_FUZZ_CASES": str(CASES // 10)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *again],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout
