"""One client's queue: in order, bounded, and over when it says so."""

import asyncio

from collector.access.keys import Credential
from collector.control.feedback.acks import ClientId, Propagation
from collector.control.feedback.stream import Event, Subscription
from schemas.ids import CredentialId
from schemas.kills import Acks

WHO = ClientId("key", "one", "acme/support/triage")
CREDENTIAL = Credential(CredentialId("key"), "agent", "acme", "support", "triage", 0, None, None)


def subscription() -> tuple[Subscription, list[Subscription]]:
    left: list[Subscription] = []
    return Subscription(WHO, CREDENTIAL, "text", left.append), left


def events(*numbers: int) -> list[Event]:
    return [Event(f"b-{number}", "kills", b"{}") for number in numbers]


async def test_events_come_in_order_and_all_at_once() -> None:
    stream, _ = subscription()
    for event in events(1, 2, 3):
        stream.push(event, 10)
    assert await stream.take() == events(1, 2, 3)
    waiting = asyncio.create_task(stream.take())
    await asyncio.sleep(0)
    stream.push(events(4)[0], 10)
    assert await waiting == events(4)


async def test_a_queue_that_is_full_ends_with_the_reason_and_takes_nothing_more() -> None:
    stream, left = subscription()
    for event in events(1, 2, 3, 4):
        stream.push(event, 2)
    (end,) = await stream.take()
    assert (end.id, end.name) == ("b-3", "end")
    assert b'"slow_consumer"' in end.data
    assert left == [stream]
    assert await stream.take() == []


async def test_what_waits_is_read_before_the_end() -> None:
    stream, left = subscription()
    stream.push(events(1)[0], 10)
    stream.end("shutdown", "Bye.", "b-2")
    stream.push(events(3)[0], 10)
    assert [event.id for event in await stream.take()] == ["b-1", "b-2"]
    assert await stream.take() == []
    assert left == [stream]


async def test_a_client_that_is_gone_reads_no_more() -> None:
    stream, left = subscription()
    waiting = asyncio.create_task(stream.take())
    await asyncio.sleep(0)
    stream.push(events(1)[0], 10)
    stream.close()
    assert await waiting == []
    assert left == [stream]


def test_percentiles_are_the_smallest_time_that_so_many_do_not_exceed() -> None:
    told: list[Acks] = []
    clients = [ClientId("key", f"{number:03}", "acme/a/b") for number in range(200)]
    propagation = Propagation(clients, 0, told.append)
    for number, client in enumerate(clients, start=1):
        assert not told
        propagation.ack(client, number * 1_000_000)
        propagation.ack(client, 10**12)
    (acks,) = told
    assert (acks.p50_ms, acks.p99_ms, acks.max_ms) == (100.0, 198.0, 200.0)
    assert (acks.connected, acks.acked, acks.finished) == (200, 200, True)
    propagation.finish()
    assert len(told) == 1


def test_nobody_who_was_not_there_is_counted_and_the_missing_come_first() -> None:
    told: list[Acks] = []
    propagation = Propagation([WHO, WHO._replace(client="two")], 0, told.append)
    propagation.ack(WHO._replace(key_id="other"), 1)
    propagation.ack(WHO, 2_500_000)
    propagation.finish()
    assert [(each.client, each.ms) for each in told[0].clients] == [("two", None), ("one", 2.5)]
    propagation.ack(WHO._replace(client="two"), 9_000_000)
    assert propagation.acks().acked == 2, "a late word is shown, and the report stays as it was"
    assert len(told) == 1
