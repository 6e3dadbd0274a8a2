"""Rows seen before are dropped, whatever the order, the batch or the restart."""

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.dialects import DIALECTS
from collector.pricing.names import Names
from collector.processors.dedupe import DedupeWindow, Verdicts, blob
from collector.processors.normalise import normalise
from tests.captures_on_disk import Recorded
from tests.collector.booking import book, decode, new_window
from tests.otlp import CHAT, logs, span, traces


def received(*spans: Span) -> pa.Table:
    return decode([Recorded("traces", "http", traces(*spans).SerializeToString(), as_json=False)])


def judge(window: DedupeWindow, rows: pa.Table) -> Verdicts:
    verdicts = window.judge(normalise(rows, DIALECTS, Names()))
    window.remember([blob(verdicts)])
    return verdicts


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_each_span_is_kept_exactly_once_however_it_is_delivered(data: st.DataObject) -> None:
    spans = [span() for _ in range(data.draw(st.integers(1, 6)))]
    deliveries = data.draw(st.lists(st.lists(st.sampled_from(range(len(spans))), min_size=1, max_size=8), max_size=8))
    window, kept = new_window(), []
    for delivery in [*deliveries, range(len(spans))]:
        batch = [spans[i] for i in delivery]
        verdicts = judge(window, received(*batch))
        kept += [s.span_id for s, keep in zip(batch, verdicts.keep.tolist(), strict=True) if keep]
        assert not verdicts.conflict.any()
    assert sorted(kept) == sorted(s.span_id for s in spans)


def test_the_same_ids_of_two_tenants_are_two_spans() -> None:
    rows = received(span())
    other = rows.set_column(rows.column_names.index("tenant"), "tenant", pa.array(["sales"]))
    assert judge(new_window(), pa.concat_tables([rows, other])).keep.all()


def test_an_id_with_other_content_is_kept_as_a_finding_and_is_still_one_call() -> None:
    """madesroches/micromegas#1466 dropped distinct rows; a silent drop would hide a forger."""
    first = span()
    second = Span.FromString(first.SerializeToString())
    second.attributes[4].value.int_value = 999_999
    booked = book(received(first, second))
    assert booked["findings"].to_pylist() == [None, "conflicting_duplicate"]
    # What is believed does not depend on which came first, and nobody lowers a bill by sending again.
    assert booked["call_count"].to_pylist() == [0, 1]
    assert booked["input_tokens"].to_pylist() == [1_000, 999_999]


def test_a_restart_remembers_what_was_committed() -> None:
    rows = received(span(), span())
    window = new_window()
    verdicts = window.judge(normalise(rows, DIALECTS, Names()))
    again = new_window()
    again.remember([blob(verdicts)])
    assert not again.judge(normalise(rows, DIALECTS, Names())).keep.any()


def test_a_booking_that_was_not_committed_is_not_remembered() -> None:
    window, rows = new_window(), normalise(received(span()), DIALECTS, Names())
    window.judge(rows)
    assert window.judge(rows).keep.all()


def test_the_window_is_bounded_and_keeps_the_newest() -> None:
    window = new_window(max_keys=200)
    oldest, newest = received(span()), received(span())
    judge(window, oldest)
    for _ in range(30):
        judge(window, received(*(span() for _ in range(20))))
    judge(window, newest)
    assert len(window) <= 240
    assert not judge(window, newest).keep.any()
    assert judge(window, oldest).keep.all()


def test_repeated_log_records_are_dropped_and_different_ones_kept() -> None:
    body = logs("one", "two").SerializeToString()
    rows = decode([Recorded("logs", "http", body, as_json=False)] * 2)
    assert judge(new_window(), rows).keep.tolist() == [True, True, False, False]


def test_a_span_from_the_future_is_recognised_when_it_comes_again() -> None:
    ahead = span(start_ns=2**62)
    window = new_window()
    assert judge(window, received(ahead)).keep.all()
    assert not judge(window, received(ahead)).keep.any()


def test_no_rows_are_no_verdicts() -> None:
    assert len(judge(new_window(), received()).keep) == 0


def test_keys_spread_over_their_whole_range() -> None:
    """A weak mix would make distinct spans collide, and a collision loses a call."""
    window = new_window()
    rows = normalise(received(*(span({**CHAT}) for _ in range(3_000))), DIALECTS, Names())
    keys = window.judge(rows).keys
    for lane in (0, 1):
        low = pa.array(keys[:, lane] & 0xFFFF)
        assert pc.count_distinct(low).as_py() > 2_800
