"""Words, documents and tools → what the OpenAI SDK calls them."""

from typing import cast

from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessage,
    ChatCompletionMessageParam,
    ChatCompletionUserMessageParam,
)


def user(words: str, *documents: str) -> ChatCompletionUserMessageParam:
    """What a person says, with uploaded documents attached by their ids."""
    attached = [{"type": "file", "file": {"file_id": file_id}} for file_id in documents]
    message = {"role": "user", "content": [{"type": "text", "text": words}, *attached]}
    return cast(ChatCompletionUserMessageParam, message)


def said(message: ChatCompletionMessage) -> ChatCompletionMessageParam:
    """What the model answered, as part of the next request."""
    return cast(ChatCompletionMessageParam, message.to_dict())


def tool(name: str, does: str) -> ChatCompletionFunctionToolParam:
    """A tool without arguments worth naming."""
    return {"type": "function", "function": {"name": name, "description": does, "parameters": {"type": "object"}}}
