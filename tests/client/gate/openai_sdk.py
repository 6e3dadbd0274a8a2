"""The openai SDK, each call it can make: one function each, from a provider's address to the answer's text."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import openai

Call = Callable[[str], str]

MESSAGES: Any = [{"role": "user", "content": "Why is the sky blue?"}]
WORDS: Any = {"model": "gpt-5-mini", "messages": MESSAGES, "max_completion_tokens": 300}


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none")


def openai_chat(url: str) -> str:
    with openai_client(url) as client:
        return client.chat.completions.create(**WORDS).choices[0].message.content or ""


def openai_stream(url: str) -> str:
    with openai_client(url) as client:
        chunks = client.chat.completions.create(**WORDS, stream=True, stream_options={"include_usage": True})
        return " ".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def openai_responses(url: str) -> str:
    with openai_client(url) as client:
        return client.responses.create(model="gpt-5-mini", input="Why?", max_output_tokens=300).output_text


def openai_responses_stream(url: str) -> str:
    with openai_client(url) as client:
        events = list(client.responses.create(model="gpt-5-mini", input="Why?", max_output_tokens=300, stream=True))
        return str(getattr(events[-1], "response").output_text)  # noqa: B009 - only the last kind of event has it.


async def openai_async(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        return (await client.chat.completions.create(**WORDS)).choices[0].message.content or ""


async def openai_async_stream(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        chunks = await client.chat.completions.create(**WORDS, stream=True, stream_options={"include_usage": True})
        return " ".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def awaited(call: Callable[[str], Awaitable[str]]) -> Call:
    async def wait(url: str) -> str:
        return await call(url)

    return lambda url: asyncio.run(wait(url))


OPENAI_CALLS: Mapping[str, Call] = {
    "openai_chat": openai_chat,
    "openai_stream": openai_stream,
    "openai_async": awaited(openai_async),
    "openai_async_stream": awaited(openai_async_stream),
    "openai_responses": openai_responses,
    "openai_responses_stream": openai_responses_stream,
}
