"""Requests → one durable frame → answers, over a real frame log on disk."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from collector.dialects import DIALECTS
from collector.dialects.dialect import wanted_keys
from collector.frames import FrameLog
from collector.receivers.commit_group import CommitGroup, Frame, Hooks, Reply, Request, Sender, read_payload
from collector.receivers.config import Config, Limits
from collector.receivers.decode import TableBuilder
from schemas.errors import Fatal, Permanent, Retryable, SpanwardError
from schemas.ids import AgentPath, TenantPath
from schemas.quantities import Size
from tests.otlp import logs, metrics, metrics_of, span, token_usage, traces

SENDER = Sender(AgentPath("acme", "support", "triage"), "key-1")
OTHER = Sender(AgentPath("other", "sales", "writer"), "key-2")


class Group:
    """A commit group over `directory`, and what it told its process."""

    def __init__(self, directory: Path, config: Config | None = None, **log_settings: int) -> None:
        self.spool = FrameLog(directory, **log_settings)  # type: ignore[arg-type]
        self.fatal: list[Fatal] = []
        hooks = Hooks(clock=time.time_ns, durable=lambda: None, fatal=self.fatal.append)
        self.group = CommitGroup(self.spool, TableBuilder, wanted_keys(DIALECTS), config or Config(), hooks)

    def submit(self, *requests: Request) -> list[Reply | SpanwardError]:
        """All at once, so that they form one group; the thread starts when they are queued."""

        async def run() -> list[Reply | SpanwardError]:
            tasks = [asyncio.create_task(self.group.submit(request)) for request in requests]
            await asyncio.sleep(0)
            if not self.group._thread.is_alive():
                self.group.start()
            return await asyncio.gather(*tasks, return_exceptions=True)  # type: ignore[return-value]

        return asyncio.run(run())


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


def good(sender: Sender = SENDER) -> Request:
    return Request(sender, "traces", traces(span(), span()).SerializeToString())


def test_rows_are_durable_before_the_answer_and_carry_their_senders_identity(group: Group) -> None:
    answers = group.submit(good(), good(OTHER))
    assert answers == [Reply(2, 0, []), Reply(2, 0, [])]
    assert group.spool.durable == 1
    header, rows = read_payload(next(group.spool.read(0)).payload)
    assert header.received == {"traces": 4}
    assert rows["org"].to_pylist() == ["acme", "acme", "other", "other"]
    assert rows["credential_id"].to_pylist() == ["key-1", "key-1", "key-2", "key-2"]


def test_rows_under_a_tenants_key_name_no_agent(group: Group) -> None:
    group.submit(good(), good(Sender(TenantPath("acme", "support"), "key-3")))
    _, rows = read_payload(next(group.spool.read(0)).payload)
    assert rows["tenant"].to_pylist() == ["support"] * 4
    assert rows["agent"].to_pylist() == ["triage", "triage", None, None]
    assert rows["credential_id"].to_pylist() == ["key-1", "key-1", "key-3", "key-3"]


def test_a_malformed_request_harms_none_of_its_group(group: Group) -> None:
    broken = Request(SENDER, "traces", b"\x0a\xff\xff")
    answers = group.submit(good(), broken, good())
    assert [type(answer) for answer in answers] == [Reply, Permanent, Reply]
    assert read_payload(next(group.spool.read(0)).payload)[0].received == {"traces": 4}


def test_all_signals_are_acknowledged_and_metrics_are_counted_as_not_stored(group: Group) -> None:
    bodies = [("traces", traces(span())), ("logs", logs("a", "b")), ("metrics", metrics(3))]
    group.submit(*(Request(SENDER, signal, body.SerializeToString()) for signal, body in bodies))  # type: ignore[arg-type]
    header, rows = read_payload(next(group.spool.read(0)).payload)
    assert header.received == {"traces": 1, "logs": 2, "metrics": 3}
    assert header.not_stored == {"metrics": 3}
    assert len(rows) == 3


def test_points_that_count_tokens_are_rows_of_their_senders_and_the_others_are_counted(group: Group) -> None:
    requests = [
        Request(
            sender,
            "metrics",
            metrics_of(token_usage(), *metrics(2).resource_metrics[0].scope_metrics[0].metrics).SerializeToString(),
        )
        for sender in (SENDER, OTHER)
    ]
    broken = Request(SENDER, "metrics", b"\x0a\xff\xff")
    answers = group.submit(requests[0], good(), broken, requests[1])
    assert [type(answer) for answer in answers] == [Reply, Reply, Permanent, Reply]
    header, rows = read_payload(next(group.spool.read(0)).payload)
    assert header == Frame(header.received_time, {"metrics": 6, "traces": 2}, {}, {"metrics": 4})
    assert rows["signal"].to_pylist() == ["traces", "traces", "metrics", "metrics"]
    assert rows["org"].to_pylist() == ["acme", "acme", "acme", "other"]
    assert rows["metric.input_tokens"].to_pylist() == [None, None, 100, 100]


def test_a_full_spool_is_a_retryable_refusal_and_later_requests_succeed(tmp_path: Path) -> None:
    group = Group(tmp_path, max_bytes=10)
    (answer,) = group.submit(good())
    assert isinstance(answer, Retryable)
    assert "spool.max_bytes" in answer.what
    assert group.spool.durable == 0
    group.spool._max_bytes = None
    assert group.submit(good()) == [Reply(2, 0, [])]
    assert group.fatal == []


def test_a_failed_sync_acknowledges_nothing_and_ends_the_process(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fdatasync the page cache may lie: nothing may be retried on the same file."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fdatasync", fail)
    answers = group.submit(good(), good())
    assert all(isinstance(answer, Fatal) for answer in answers)
    assert len(group.fatal) == 1


def test_more_bytes_in_flight_than_the_limit_is_an_overload(tmp_path: Path) -> None:
    group = Group(tmp_path, Config(limits=Limits(max_in_flight=Size("1KiB"))))
    large = Request(SENDER, "traces", traces(*(span() for _ in range(20))).SerializeToString())
    (answer,) = group.submit(large)
    assert isinstance(answer, Retryable)
    assert answer.overloaded
    assert "limits.max_in_flight" in answer.what
    assert group.submit(Request(SENDER, "traces", traces(span()).SerializeToString())) == [Reply(1, 0, [])]


def test_more_rows_than_the_limit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    group = Group(tmp_path, Config(limits=Limits(max_items=10)))
    (answer,) = group.submit(Request(SENDER, "traces", traces(*(span() for _ in range(11))).SerializeToString()))
    assert isinstance(answer, Permanent)
    assert "limits.max_items" in answer.what


def test_stop_answers_what_is_queued_and_refuses_what_comes_later(group: Group) -> None:
    assert group.submit(good()) == [Reply(2, 0, [])]
    group.group.stop()
    (answer,) = asyncio.run(_late(group))
    assert isinstance(answer, Retryable)


async def _late(group: Group) -> list[Reply | SpanwardError]:
    return await asyncio.gather(group.group.submit(good()), return_exceptions=True)  # type: ignore[return-value]
