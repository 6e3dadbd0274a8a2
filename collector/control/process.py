"""Data directory, inherited sockets and settings → a running owner.

Start order: state and limits are restored before the first question is answered. Stop order:
the doors close, running requests finish, everything recorded is committed. When the state fails,
everything that rests on it is thrown away and restored by the code of a start, again and again until
that works, while a stand-in answers. Any other fatal error ends the process.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from collector.control.outage.trouble import Trouble
from collector.control.wiring.house import House, Outside, Settings, build
from collector.control.wiring.running import Running, background, durable_kills, restore
from collector.control.wiring.served import served, stand_in
from collector.state.store import State, StoreFailed
from schemas.errors import Fatal, Retryable, SpanwardError

# How long a state that failed is left alone before it is tried again.
_RETRY_S = 1.0


async def run(data_dir: Path, settings: Settings, outside: Outside) -> None:
    """Serve until `stop` is set or ingest hangs up.

    Raises `ConfigError` for what the operator must mend, `Fatal` when memory and disk may differ.
    """
    with ExitStack() as stack:
        house = build(data_dir, settings, outside, stack)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(house.trouble.wait())
                listening = [tasks.create_task(_listen(house, each)) for each in outside.connections]
                await _live(house)
                for task in (watching, *listening):
                    task.cancel()
        except* SpanwardError as errors:
            raise _first(errors) from errors


async def _listen(house: House, connection: socket.socket) -> None:
    await house.line.serve(connection)
    house.outside.stop.set()


async def _live(house: House) -> None:
    """One owner after the other: the next begins where the state of the last could not be written."""
    stop = house.outside.stop
    while not stop.is_set():
        try:
            await _own(house)
        except (StoreFailed, Retryable) as error:
            # Nobody has been told anything yet: a start says what is wrong, and the operator starts again.
            if not house.front.is_open:
                raise
            house.stand_in.take_over(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_S)
    house.seals.close()
    await house.front.close()


async def _own(house: House) -> None:
    """Restore, and answer until `stop`; raises `StoreFailed` once memory is ahead of the disk."""
    with ExitStack() as stack:
        state = await asyncio.to_thread(_open, house)
        stack.callback(state.close)
        running = restore(house, state)
        try:
            async with asyncio.TaskGroup() as tasks:
                await _serve(house, running, tasks)
        except* SpanwardError as errors:
            raise _first(errors) from errors
        finally:
            house.line.shut()
            house.stand_in.heed(durable_kills(running))
            house.front.fall_back()
            running.hub.close()
            await running.parts.committer.abandon()
            await running.notices.stop()


async def _serve(house: House, running: Running, tasks: asyncio.TaskGroup) -> None:
    committer, trouble = running.parts.committer, Trouble()
    committer.on_durable = running.durable
    tasks.create_task(committer.run())
    # What changed while nobody looked, and what was answered, is recorded before the first question.
    await running.keys_follower.poll()
    await running.switch.mirror()
    await house.stand_in.hand_over(running.parts, running.owner.on_decided)
    await committer.durable()
    await house.front.show(served(house, running, trouble.tell), stand_in(house, running))
    house.line.open(running.door, trouble.tell)
    beside = [tasks.create_task(each) for each in (trouble.wait(), *background(house, running))]
    await house.stand_in.hand_over_rest(running.parts, running.owner.on_decided)
    await house.outside.stop.wait()
    house.seals.close()
    running.hub.close()
    await house.front.close()
    await running.notices.stop()
    for task in beside:
        task.cancel()
    committer.stop()


def _open(house: House) -> State:
    state = State(house.data_dir / "state" / "state.db")
    if house.stand_in.stands_in:
        try:
            state.rewrite_log()
        except StoreFailed:
            state.close()
            raise
    return state


def _first(errors: BaseExceptionGroup[SpanwardError]) -> SpanwardError:
    """The error that matters: a bug before a state that failed, and both before what these two bring with them."""
    found = sorted(_leaves(errors), key=lambda error: (not isinstance(error, Fatal), isinstance(error, StoreFailed)))
    return found[0]


def _leaves(errors: BaseExceptionGroup[SpanwardError]) -> Iterator[SpanwardError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
