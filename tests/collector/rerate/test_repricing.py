"""Any ledger, however often it was corrected before: with the new corrections every line costs what it costs today."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger.reader import Evidence
from collector.ledger.rows import from_parquet
from collector.pricing.book import PriceBook
from collector.pricing.config import Settings
from collector.pricing.overlay import Asked, Prices, Row
from collector.pricing.overlay import Written as WrittenPrice
from collector.rerate.repricing import CHUNK_ROWS, Period, Repricing, Sum
from schemas.accounting import Role, Rule
from schemas.tables import EntryKind
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, counted

# nano-USD for an input and an output token by the price list; the third model is in no list.
NANO = {"gpt-4o": (2_500, 10_000), "gpt-4o-mini": (150, 600)}
MODELS = (*NANO, "a-model-nobody-knows")
DAY = Period(NOON_NS - 12 * HOUR_NS, NOON_NS + 12 * HOUR_NS)
LIST = PriceBook()


def book_at(usd_per_million: str) -> PriceBook:
    """The price list, but gpt-4o costs this for input and output since long ago."""
    prices = Prices(input=usd_per_million, output=usd_per_million)
    row = Row(provider="openai", model="gpt-4o", effective_from="2020-01-01", prices=prices, source="contract")
    return PriceBook(Settings(rows=(WrittenPrice("overlay.yaml:1", row),)))


class Line:
    """One call as it was booked, with every correction of it so far: ledger rows in their order."""

    def __init__(self, entry_id: str, event_time: int) -> None:
        self.entry_id = entry_id
        self.event_time = event_time
        self.rows: list[dict[str, Any]] = []
        self.calls = 0
        self.cost = 0

    def add(self, count: int, cost: int | None, **columns: object) -> None:
        first = not self.rows
        row = counted(call(event_time=self.event_time)) | columns | {"call_count": count, "cost_nano_usd": cost}
        row |= {"entry_id": self.entry_id} if first else {"kind": EntryKind.CORRECTION, "corrects": self.entry_id}
        self.rows.append({name: value for name, value in row.items() if first or name != "signal"})
        if count or not first:
            self.calls += count
            self.cost += cost or 0

    @property
    def should_cost(self) -> int | None:
        """What it costs today, `None` where nobody knows."""
        if not self.calls:
            return 0
        last = next(row for row in reversed(self.rows) if row["call_count"] == 1)
        if last["model"] not in NANO:
            return None
        input_, output = NANO[last["model"]]
        return int(last["input_tokens"]) * input_ + int(last["output_tokens"]) * output


COSTS = st.none() | st.integers(0, 10**12)
DESCRIBED = st.fixed_dictionaries(
    {"model": st.sampled_from(MODELS), "input_tokens": st.integers(1, 10**6), "output_tokens": st.integers(0, 10**5)}
)
# What happens to a line: it is rerated, taken back or booked anew.
STEPS = st.lists(st.sampled_from(["rerated", "taken back", "booked anew"]), max_size=6)


@st.composite
def lines(draw: st.DrawFn) -> list[Line]:
    made = []
    for number in range(draw(st.integers(1, 8))):
        line = Line(f"call-{number}", NOON_NS + draw(st.integers(-14, 13)) * HOUR_NS)
        line.add(draw(st.sampled_from([1, 1, 1, 0])), draw(COSTS), **draw(DESCRIBED))
        if not line.calls:
            line.rows[0] |= {"accounting_rule": Rule.SAME_RESPONSE, "cost_nano_usd": draw(COSTS)}
        for step in draw(STEPS):
            last = {name: line.rows[-1][name] for name in ("model", "input_tokens", "output_tokens")}
            if step == "rerated" and any(row["call_count"] for row in line.rows):
                line.add(
                    0, draw(st.integers(-(10**12), 10**12)), **last | {"input_tokens": None, "output_tokens": None}
                )
            elif step == "taken back" and line.calls:
                line.add(-1, -line.cost if draw(st.booleans()) else draw(COSTS), **last)
            elif step == "booked anew" and not line.calls:
                line.add(1, draw(COSTS), **draw(DESCRIBED))
        made.append(line)
    return made


@settings(deadline=None, max_examples=60)
@given(lines=lines(), cuts=st.sets(st.integers(1, 50), max_size=4))
def test_every_line_costs_what_it_costs_today_and_a_second_run_finds_nothing(lines: list[Line], cuts: set[int]) -> None:
    with TemporaryDirectory() as folder:
        ledger = Written(Path(folder))
        rows = sorted((place, number, row) for number, line in enumerate(lines) for place, row in enumerate(line.rows))
        for at, (_, _, row) in enumerate(rows):
            ledger.book(row)
            if at in cuts:
                ledger.seal()
        ledger.seal()
        found = corrections(Path(folder))
        expected = {
            line.entry_id: line.should_cost - line.cost
            for line in lines
            if DAY.start <= line.event_time < DAY.end and line.should_cost not in {None, line.cost}
        }
        assert {str(row["corrects"]): row["cost_nano_usd"] for row in found} == expected
        assert len(found) == len(expected) == len({row["entry_id"] for row in found})
        assert corrections(Path(folder)) == found
        for row in found:
            ledger.book(dict(row))
        ledger.seal()
        assert corrections(Path(folder)) == []
        ledger.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path / "data")
    yield written
    written.close()


def corrections(data: Path, book: PriceBook = LIST, *, period: Period = DAY) -> list[dict[str, Any]]:
    return [row for chunk in repricing(data, book, period=period).chunks() for row in chunk]


def repricing(data: Path, book: PriceBook = LIST, *, period: Period = DAY) -> Repricing:
    return Repricing(data / "store", period, book, reason="New contract.")


def sealed(ledger: Written, *rows: dict[str, Any]) -> Path:
    ledger.book(*rows)
    ledger.seal()
    return ledger.data_dir


def usage(entry_id: str = "one", **columns: object) -> dict[str, Any]:
    """A call of 100 input and 20 output tokens that is booked at what the list says."""
    return counted(call(entry_id=entry_id, model="gpt-4o", cost_nano_usd=450_000), **columns)


def test_a_correction_says_whose_call_it_changes_from_what_to_what_and_why(ledger: Written) -> None:
    told = {"claimed_agent": "Triage", "claim_source": "span", "service_tier": "default", "credential_id": "key"}
    told |= {
        "trace_id": "0" * 32,
        "response_id": "resp",
        "region": "eu",
        "service_name": "desk",
        "scope_name": "openai",
    }
    data = sealed(ledger, usage(attribution_source="credential", **told))
    (row,) = corrections(data, book_at("5"))
    price = book_at("5").lookup(Asked("openai", "gpt-4o"), NOON_NS)
    assert price is not None
    assert row.items() >= told.items()
    assert row.items() >= {
        "kind": "correction", "accounting_rule": "rerated", "accounting_role": "call", "call_count": 0,
        "corrects": "one", "cost_nano_usd": 150_000, "event_time": NOON_NS, "org": "acme", "tenant": "support",
        "agent": "triage", "model": "gpt-4o", "subject": "gpt-4o", "input_price": 5_000_000,
        "output_price": 5_000_000, "pricing_basis": "exact", "price_digest": price.digest,
        "message": "Rerated from 0.000450000 to 0.000600000 USD: New contract.",
    }.items()  # fmt: skip
    assert not [name for name in row if name.endswith("_tokens")]
    assert uuid.UUID(str(row["entry_id"])).version == 8


def test_a_price_that_comes_back_is_corrected_again(ledger: Written) -> None:
    data = sealed(ledger, usage())
    seen: list[dict[str, Any]] = []
    for usd, difference in (("5", 150_000), ("2", -360_000), ("5", 360_000), ("2", -360_000)):
        (row,) = corrections(data, book_at(usd))
        assert row["cost_nano_usd"] == difference
        seen.append(row)
        sealed(ledger, row)
    assert len({row["entry_id"] for row in seen}) == 4


def test_only_calls_of_the_period_are_touched_its_first_moment_included(ledger: Written) -> None:
    times = {"before": DAY.start - 1, "first": DAY.start, "last": DAY.end - 1, "after": DAY.end}
    data = sealed(ledger, *(usage(name, event_time=at) for name, at in times.items()))
    assert {row["corrects"] for row in corrections(data, book_at("5"))} == {"first", "last"}


def test_a_period_may_be_all_time(ledger: Written) -> None:
    data = sealed(ledger, usage())
    assert len(corrections(data, book_at("5"), period=Period(-(10**20), 10**20))) == 1


def test_a_line_whose_parts_lie_on_both_sides_of_the_edge_belongs_to_where_it_is_booked_now(ledger: Written) -> None:
    old = usage(event_time=DAY.start - 5)
    reverse = old | {
        "entry_id": "r",
        "kind": "correction",
        "corrects": "one",
        "call_count": -1,
        "cost_nano_usd": -450_000,
    }
    anew = usage("b", kind="correction", corrects="one", event_time=DAY.start)
    data = sealed(ledger, old)
    sealed(ledger, reverse, anew)
    assert [row["cost_nano_usd"] for row in corrections(data, book_at("5"))] == [150_000]
    before = Period(DAY.start - 24 * HOUR_NS, DAY.start)
    assert corrections(data, book_at("5"), period=before) == []


def test_what_is_no_metered_call_is_left_alone(ledger: Written) -> None:
    rows = [
        usage("span", kind=EntryKind.SPAN, call_count=None),
        usage("merged", call_count=0, accounting_rule=Rule.SAME_RESPONSE),
        usage("unmetered", metered=False, cost_nano_usd=None),
        usage("tool", kind=EntryKind.CORRECTION, corrects="t", accounting_role=Role.TOOL, cost_nano_usd=None),
        usage("decision", kind=EntryKind.DECISION, call_count=None),
    ]
    assert corrections(sealed(ledger, *rows), book_at("5")) == []


def test_a_ledger_from_before_calls_were_counted_is_rerated_too(ledger: Written) -> None:
    rows = [
        call(entry_id="one", model="gpt-4o", cost_nano_usd=450_000),
        call(entry_id="two", model="gpt-4o", metered=False),
    ]
    assert [row["corrects"] for row in corrections(sealed(ledger, *rows), book_at("5"))] == ["one"]


def test_sums_say_what_each_model_cost_before_and_after(ledger: Written) -> None:
    data = sealed(
        ledger,
        usage("one"),
        usage("two", cost_nano_usd=600_000),
        usage("three", model="gpt-4o-mini", cost_nano_usd=None),
        usage("four", model="a-model-nobody-knows", cost_nano_usd=7),
        usage("five", model="gpt-4o-mini", cost_nano_usd=9),
        usage("six", kind=EntryKind.CORRECTION, corrects="five", call_count=-1, cost_nano_usd=-9, model="gpt-4o-mini"),
    )
    found = repricing(data, book_at("5"))
    assert len([row for chunk in found.chunks() for row in chunk]) == 2
    assert found.sums == {
        "gpt-4o": Sum(calls=2, unpriced=0, corrections=1, old_nano_usd=1_050_000, new_nano_usd=1_200_000),
        "gpt-4o-mini": Sum(calls=1, unpriced=0, corrections=1, old_nano_usd=0, new_nano_usd=27_000),
        "a-model-nobody-knows": Sum(calls=1, unpriced=1, corrections=0, old_nano_usd=7, new_nano_usd=7),
    }


def test_chunks_are_bounded_and_lose_nothing(ledger: Written) -> None:
    data = sealed(ledger, *(usage(f"call-{number}") for number in range(2 * CHUNK_ROWS + 1)))
    chunks = list(repricing(data, book_at("5")).chunks())
    assert [len(chunk) for chunk in chunks] == [CHUNK_ROWS, CHUNK_ROWS, 1]
    assert len({row["corrects"] for chunk in chunks for row in chunk}) == 2 * CHUNK_ROWS + 1
    assert msgspec.json.encode(chunks) == msgspec.json.encode(list(repricing(data, book_at("5")).chunks()))


def test_what_was_written_is_not_touched(ledger: Written) -> None:
    data = sealed(ledger, usage())
    before = {path: path.read_bytes() for path in Evidence(data / "store").objects(*DAY)}
    assert corrections(data, book_at("5"))
    assert {path: path.read_bytes() for path in Evidence(data / "store").objects(*DAY)} == before
    assert [len(from_parquet(content)) for content in before.values()] == [2]
