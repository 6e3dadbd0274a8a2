"""Recorded requests and a seed in, damaged ones out; and the two ways to knock with many of them at once.

The clients are bare, because what is tried is the door and not the client: one request after the other on each of
many connections, a status counted for each.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import grpc
import grpc.aio

from tests.captures_on_disk import emitters, requests
from tests.collector.receivers.odd_requests import damage

CONNECTIONS = 128
# The rare long ones would take the time of many others, and are cut and stretched like the short ones.
MAX_CAPTURE_BYTES = 6_000


class Knock(NamedTuple):
    """One request: where, as a path of HTTP or a method of gRPC, and what."""

    where: str
    body: bytes


def captured(wheres: dict[str, str]) -> list[Knock]:
    """What real exporters sent in protobuf, each with where its signal goes."""
    return [
        Knock(wheres[request.signal], request.body)
        for emitter in emitters()
        for request in requests(emitter)
        if not request.as_json and len(request.body) <= MAX_CAPTURE_BYTES
    ]


def mutants(whole: Sequence[Knock], *, seed: int, count: int) -> Iterator[Knock]:
    """`count` requests, each damaged in one to three places."""
    random = Random(seed)
    for _ in range(count):
        where, body = random.choice(whole)
        damaged = bytearray(body)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            damage(random, damaged)
        yield Knock(where, bytes(damaged))


async def knock_http(address: str, key: str, knocks: Iterator[Knock]) -> Counter[int]:
    """Send them all to HOST:PORT; how often each status came."""
    statuses: Counter[int] = Counter()
    head = f"host: {address}\r\ncontent-type: application/x-protobuf\r\nauthorization: Bearer {key}\r\n"
    host, _, port = address.rpartition(":")

    async def send() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for where, body in knocks:
            writer.write(f"POST {where} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            statuses[int(answer.split(b" ", 2)[1])] += 1
            length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return statuses


async def knock_grpc(address: str, metadata: dict[str, str], knocks: Iterator[Knock]) -> Counter[str]:
    """Call them all; how often each status came."""
    statuses: Counter[str] = Counter()
    sent = tuple(metadata.items())
    async with grpc.aio.insecure_channel(address) as channel:

        async def call() -> None:
            for where, body in knocks:
                method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{where}")
                try:
                    await method(body, metadata=sent, timeout=60)
                except grpc.aio.AioRpcError as error:
                    statuses[error.code().name] += 1
                else:
                    statuses["OK"] += 1

        await asyncio.gather(*(call() for _ in range(CONNECTIONS)))
    return statuses
