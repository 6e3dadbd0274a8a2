"""The real SDKs, each call they can make: one function each, from a provider's address to the answer's text.

Each returns what its user sees: the text of the answer, or raises what the SDK raises.
"""

import json
from collections.abc import Mapping
from typing import Any

import anthropic
import boto3
import botocore.config
from google import genai
from mistralai.client import Mistral

from tests.client.gate.openai_sdk import MESSAGES, OPENAI_CALLS, Call, awaited

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


CALLS: Mapping[str, Call] = {
    **OPENAI_CALLS,
    "anthropic": anthropic_messages,
    "anthropic_stream": anthropic_stream,
    "anthropic_async": awaited(anthropic_async),
    "anthropic_async_stream": awaited(anthropic_async_stream),
    "gemini": gemini_generate,
    "gemini_stream": gemini_stream,
    "gemini_async": awaited(gemini_async),
    "gemini_async_stream": awaited(gemini_async_stream),
    "mistral": mistral_chat,
    "mistral_stream": mistral_stream,
    "mistral_async": awaited(mistral_async),
    "mistral_async_stream": awaited(mistral_async_stream),
    "bedrock_converse": bedrock_converse,
    "bedrock_converse_stream": bedrock_converse_stream,
    "bedrock_invoke": bedrock_invoke,
    "bedrock_invoke_stream": bedrock_invoke_stream,
}
