"""A function → the same function, asked for before its body runs.

    @governed(action="tool.call", tool="search")
    def search(text): ...

Works on functions, coroutines, generators and async generators. Invariant: the body runs under its
decision and only under it; between two items of a generator the caller's context is its own.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Any, TypeVar, Unpack, cast

from spanward_client.asking import aask, ask
from spanward_client.decision import Decision
from spanward_client.holding import working_under
from spanward_client.protocol import Question

Governed = TypeVar("Governed", bound=Callable[..., Any])

TOOL_ACTION = "tool.call"

Under = Callable[[], AbstractContextManager[None]]


def governed(**question: Unpack[Question]) -> Callable[[Governed], Governed]:
    """Ask before each call of the decorated function; `action` is `tool.call` and `tool` its name, unless given.

    Raises what `check` raises, before the body runs, or at the first item of a generator. Inside, every
    span started carries the decision's id; model calls inside are asked for by themselves. Pass no
    `idempotency_key`: each call is an act of its own.
    """

    def decorate(function: Governed) -> Governed:
        asked = Question(**question)
        asked.setdefault("action", TOOL_ACTION)
        if asked["action"] == TOOL_ACTION:
            asked.setdefault("tool", function.__name__)
        return cast(Governed, _wrapped(function, asked))

    return decorate


def _wrapped(function: Callable[..., Any], asked: Question) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def stream(*args: Any, **options: Any) -> AsyncGenerator[Any, Any]:
            under = _under(await aask(asked), asked)
            async for item in _asteps(function(*args, **options), under):
                yield item

        return stream
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def steps(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            return (yield from _steps(function(*args, **options), _under(ask(asked), asked)))

        return steps
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def act(*args: Any, **options: Any) -> Any:
            with _under(await aask(asked), asked)():
                return await function(*args, **options)

        return act

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with _under(ask(asked), asked)():
            return function(*args, **options)

    return call


def _under(decision: Decision, asked: Question) -> Under:
    """Enters the decision, again for each step of a generator."""
    return partial(working_under, decision, asked["action"])


def _steps(body: Generator[Any, Any, Any], under: Under) -> Generator[Any, Any, Any]:
    """`yield from body`, each step under the decision."""
    step: Callable[[], Any] = lambda: next(body)  # noqa: E731 - replaced by each turn.
    while True:
        try:
            with under():
                item = step()
        except StopIteration as end:
            return end.value
        try:
            sent = yield item
        except GeneratorExit:
            with under():
                body.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the body decides what becomes of it.
            step = _thrower(body, error)
        else:
            step = _sender(body, sent)


def _thrower(body: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: body.throw(error)


def _sender(body: Generator[Any, Any, Any], sent: object) -> Callable[[], Any]:
    return lambda: body.send(sent)


async def _asteps(body: AsyncGenerator[Any, Any], under: Under) -> AsyncGenerator[Any, None]:
    """The items of an async generator, each made under the decision. Nothing is sent into it."""
    try:
        while True:
            with under():
                try:
                    item = await anext(body)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        await body.aclose()
