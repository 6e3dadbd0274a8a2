"""The real SDKs, each call they can make: one function each, from a provider's address to the answer's text.

Each returns what its user sees: the text of the answer, or raises what the SDK raises.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anthropic
import boto3
import botocore.config
import openai
from google import genai
from mistralai.client import Mistral

Call = Callable[[str], str]

MESSAGES: Any = [{"role": "user", "content": "Why is the sky blue?"}]
WORDS: Any = {"model": "gpt-5-mini", "messages": MESSAGES, "max_completion_tokens": 300}
CLAUDE: Any = {"model": "claude-sonnet-4-6", "messages": MESSAGES, "max_tokens": 300}
GEMINI: Any = {"model": "gemini-2.5-flash", "contents": "Why is the sky blue?", "config": {"max_output_tokens": 300}}
MISTRAL: Any = {"model": "mistral-small-latest", "messages": MESSAGES, "max_tokens": 300}
BEDROCK: Any = {
    "modelId": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Why is the sky blue?"}]}],
    "inferenceConfig": {"maxTokens": 300},
}
INVOKE: Any = {
    "modelId": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "body": json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 300, "messages": MESSAGES}),
}


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


def anthropic_messages(url: str) -> str:
    with anthropic.Anthropic(base_url=url, api_key="none") as client:
        return str(client.messages.create(**CLAUDE).content[0].text)


def anthropic_stream(url: str) -> str:
    with anthropic.Anthropic(base_url=url, api_key="none") as client, client.messages.stream(**CLAUDE) as stream:
        return "".join(stream.text_stream)


async def anthropic_async(url: str) -> str:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as client:
        return str((await client.messages.create(**CLAUDE)).content[0].text)


async def anthropic_async_stream(url: str) -> str:
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="none") as client,
        client.messages.stream(**CLAUDE) as stream,
    ):
        return "".join([text async for text in stream.text_stream])


def _gemini(url: str) -> genai.Client:
    return genai.Client(api_key="none", http_options={"base_url": url})


def gemini_generate(url: str) -> str:
    with _gemini(url) as client:
        return client.models.generate_content(**GEMINI).text or ""


def gemini_stream(url: str) -> str:
    with _gemini(url) as client:
        return " ".join(chunk.text or "" for chunk in client.models.generate_content_stream(**GEMINI))


async def gemini_async(url: str) -> str:
    async with _gemini(url).aio as client:
        return (await client.models.generate_content(**GEMINI)).text or ""


async def gemini_async_stream(url: str) -> str:
    async with _gemini(url).aio as client:
        return " ".join([chunk.text or "" async for chunk in await client.models.generate_content_stream(**GEMINI)])


def mistral_chat(url: str) -> str:
    with Mistral(api_key="none", server_url=url) as client:
        return str(client.chat.complete(**MISTRAL).choices[0].message.content)


def mistral_stream(url: str) -> str:
    with Mistral(api_key="none", server_url=url) as client:
        events = client.chat.stream(**MISTRAL)
        return " ".join(str(event.data.choices[0].delta.content) for event in events if event.data.choices)


async def mistral_async(url: str) -> str:
    async with Mistral(api_key="none", server_url=url) as client:
        return str((await client.chat.complete_async(**MISTRAL)).choices[0].message.content)


async def mistral_async_stream(url: str) -> str:
    async with Mistral(api_key="none", server_url=url) as client:
        events = await client.chat.stream_async(**MISTRAL)
        return " ".join([str(event.data.choices[0].delta.content) async for event in events if event.data.choices])


def _bedrock(url: str) -> Any:  # noqa: ANN401 - boto3 makes its clients while running.
    return boto3.client(
        "bedrock-runtime",
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=botocore.config.Config(retries={"max_attempts": 3, "mode": "standard"}),
    )


def bedrock_converse(url: str) -> str:
    return str(_bedrock(url).converse(**BEDROCK)["output"]["message"]["content"][0]["text"])


def bedrock_converse_stream(url: str) -> str:
    events = _bedrock(url).converse_stream(**BEDROCK)["stream"]
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)


def bedrock_invoke(url: str) -> str:
    return str(json.loads(_bedrock(url).invoke_model(**INVOKE)["body"].read())["content"][0]["text"])


def bedrock_invoke_stream(url: str) -> str:
    events = _bedrock(url).invoke_model_with_response_stream(**INVOKE)["body"]
    chunks = [json.loads(event["chunk"]["bytes"]) for event in events]
    return "".join(chunk["delta"]["text"] for chunk in chunks if "delta" in chunk)


def _run(call: Callable[[str], Awaitable[str]]) -> Call:
    async def awaited(url: str) -> str:
        return await call(url)

    return lambda url: asyncio.run(awaited(url))


CALLS: Mapping[str, Call] = {
    "openai_chat": openai_chat,
    "openai_stream": openai_stream,
    "openai_async": _run(openai_async),
    "openai_async_stream": _run(openai_async_stream),
    "openai_responses": openai_responses,
    "openai_responses_stream": openai_responses_stream,
    "anthropic": anthropic_messages,
    "anthropic_stream": anthropic_stream,
    "anthropic_async": _run(anthropic_async),
    "anthropic_async_stream": _run(anthropic_async_stream),
    "gemini": gemini_generate,
    "gemini_stream": gemini_stream,
    "gemini_async": _run(gemini_async),
    "gemini_async_stream": _run(gemini_async_stream),
    "mistral": mistral_chat,
    "mistral_stream": mistral_stream,
    "mistral_async": _run(mistral_async),
    "mistral_async_stream": _run(mistral_async_stream),
    "bedrock_converse": bedrock_converse,
    "bedrock_converse_stream": bedrock_converse_stream,
    "bedrock_invoke": bedrock_invoke,
    "bedrock_invoke_stream": bedrock_invoke_stream,
}
