"""Whatever order, pieces and repetitions records come in, the books say the same in the end."""

import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accounting.merge import DIMENSIONS, TOKENS
from tests.captures_on_disk import emitters, requests
from tests.collector.booking import AGENT, TENANT, Books, decode

Totals = dict[tuple[Any, ...], Counter[str]]


@cache
def received(emitter: str, key: str) -> pa.Table:
    """All rows of a capture, sent with an agent's key or with a tenant's."""
    return decode(list(requests(emitter)), owner=AGENT if key == "agent" else TENANT)


def totals(books: Books) -> Totals:
    """What every report sums: signed counts, tokens and costs by everything a line is counted by."""
    found: Totals = {}
    for row in books.all().filter(books.effective()).to_pylist():
        sums = found.setdefault(tuple(row[name] for name in DIMENSIONS), Counter())
        sums.update({name: row[name] or 0 for name in (*TOKENS, "cost_nano_usd", "call_count", "failed_count")})
    return {key: sums for key, sums in found.items() if any(sums.values())}


def scattered(rows: pa.Table, order: random.Random) -> list[pa.Table]:
    """Each row twice, in any order, cut into requests of one to many rows."""
    places = [*range(len(rows))] * 2
    order.shuffle(places)
    pieces, at = [], 0
    while at < len(places):
        size = order.choice([1, 1, 2, 5, 40])
        pieces.append(rows.take(pa.array(places[at : at + size])))
        at += size
    return pieces


def booked(pieces: list[pa.Table], restart: Callable[[], bool]) -> Books:
    books = Books()
    for piece in pieces:
        books.book(piece)
        if restart():
            books.restart()
    return books


@pytest.mark.parametrize("key", ["agent", "tenant"])
@pytest.mark.parametrize("emitter", [name for name in emitters() if name != "codex-cli"])
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_scattered_repeated_and_restarted_requests_sum_to_the_same(emitter: str, key: str, seed: int) -> None:
    order, rows = random.Random(seed), received(emitter, key)
    whole = booked([rows], lambda: False)
    parts = booked(scattered(rows, order), lambda: order.random() < 0.1)
    assert totals(parts) == totals(whole)


@pytest.mark.parametrize("emitter", ["double-openinference", "pydantic-ai", "anthropic-official", "strands"])
def test_children_before_parents_and_parents_before_children(emitter: str) -> None:
    rows = received(emitter, "tenant")
    upwards = rows.sort_by([("end_time", "ascending"), ("start_time", "descending")])
    downwards = rows.sort_by([("start_time", "ascending"), ("end_time", "descending")])
    books = [booked([table.slice(at, 1) for at in range(len(table))], lambda: False) for table in (upwards, downwards)]
    assert totals(books[0]) == totals(books[1]) == totals(booked([rows], lambda: False))


def test_the_sum_is_not_the_same_when_a_record_is_missing() -> None:
    rows = received("anthropic-native", "agent")
    assert totals(booked([rows], lambda: False)) != totals(booked([rows.slice(1)], lambda: False))
