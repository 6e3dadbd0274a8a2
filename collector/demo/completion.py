"""A chat completion request → the completion and its bill.

Speaks the wire format of `POST /v1/chat/completions` (OpenAI API reference, "Create chat
completion") as far as the demo's agents need it: text, attached documents, tools, prompt caching.
Invariant: the same requests in the same order get the same answers and the same token counts.
HTTP is left to `provider`.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from collector.demo.tokens import count_tokens, message_tokens

CACHE_STEP_TOKENS = 128
CACHE_MIN_TOKENS = 1024
"""Prompt caching starts at 1,024 tokens and grows in steps of 128 (OpenAI guide, "Prompt caching")."""

CACHED_PREFIXES_MAX = 10_000


class Model(msgspec.Struct, frozen=True):
    """What the provider offers: the dated name it answers with, its context window, whether it reasons."""

    snapshot: str
    window_tokens: int
    reasons: bool


MODELS: Mapping[str, Model] = {
    "gpt-4.1": Model("gpt-4.1-2025-04-14", 1_047_576, reasons=False),
    "gpt-5": Model("gpt-5-2025-08-07", 400_000, reasons=True),
    "gpt-5-mini": Model("gpt-5-mini-2025-08-07", 400_000, reasons=True),
}


class Refusal(Exception):
    """A request the provider answers with an error, in the words of its API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Bill(msgspec.Struct):
    """What the provider charged for one model so far: the truth the ledger is compared with."""

    calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


class Completions:
    """Answers requests. `lock` guards the prefix cache, the bills and the numbering."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bills: dict[str, Bill] = {}
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()
        self._number = 0

    def create(self, request: Mapping[str, object]) -> dict[str, object]:
        """The completion object; raises `Refusal`."""
        name = str(request.get("model", ""))
        model = MODELS.get(name)
        if model is None:
            raise Refusal(404, "model_not_found", f"The model '{name}' does not exist or you do not have access to it.")
        if request.get("stream"):
            raise Refusal(400, "unsupported_value", "This provider does not stream. Leave out 'stream'.")
        messages = _messages(request)
        input_tokens = _input_tokens(messages, model)
        output_tokens = min(_output_limit(request), 180 + input_tokens // 400)
        with self.lock:
            choice = _choice(request, messages, self._number + 1)
            self._number += 1
            cached = self._cached_tokens(name, messages)
            reasoning = output_tokens // 2 if model.reasons else 0
            self._charge(model.snapshot, Bill(1, input_tokens, cached, output_tokens, reasoning))
            return {
                "id": f"chatcmpl-demo{self._number:08d}",
                "object": "chat.completion",
                "created": 1_764_000_000 + self._number,
                "model": model.snapshot,
                "service_tier": "default",
                "system_fingerprint": "fp_demo",
                "choices": [choice],
                "usage": {
                    "prompt_tokens": input_tokens,
                    "completion_tokens": output_tokens,
                    "total_tokens": input_tokens + output_tokens,
                    "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
                },
            }

    def _cached_tokens(self, model: str, messages: Sequence[Mapping[str, object]]) -> int:
        """Length of the longest prefix of whole messages seen before, as the provider's cache rounds it."""
        digest = hashlib.sha256(model.encode())
        length = longest = 0
        for message in messages:
            digest.update(json.dumps(message, sort_keys=True).encode())
            length += message_tokens(message)
            if digest.digest() in self._prefixes:
                longest = length
            self._prefixes[digest.digest()] = None
        while len(self._prefixes) > CACHED_PREFIXES_MAX:
            self._prefixes.popitem(last=False)
        rounded = longest // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS
        return rounded if rounded >= CACHE_MIN_TOKENS else 0

    def _charge(self, model: str, call: Bill) -> None:
        bill = self.bills.setdefault(model, Bill())
        for field in Bill.__struct_fields__:
            setattr(bill, field, getattr(bill, field) + getattr(call, field))


def _messages(request: Mapping[str, object]) -> list[Mapping[str, object]]:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        raise Refusal(400, "invalid_type", "'messages' must be a non-empty array of objects.")
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and not all(isinstance(part, dict) for part in content):
            raise Refusal(400, "invalid_type", "'content' must be text or an array of objects.")
    return messages


def _input_tokens(messages: Sequence[Mapping[str, object]], model: Model) -> int:
    try:
        tokens = count_tokens(messages)
    except KeyError as error:
        raise Refusal(404, "file_not_found", f"No such file: {error}.") from error
    if tokens > model.window_tokens:
        raise Refusal(
            400,
            "context_length_exceeded",
            f"This model's maximum context length is {model.window_tokens} tokens; the messages have {tokens}.",
        )
    return tokens


def _output_limit(request: Mapping[str, object]) -> int:
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    if limit is None:
        return 4096
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise Refusal(400, "invalid_type", "'max_completion_tokens' must be a whole number above 0.")
    return limit


def _choice(request: Mapping[str, object], messages: Sequence[Mapping[str, object]], number: int) -> dict[str, object]:
    """A tool call while there are tools and no result that worked; then an answer in words."""
    tools = request.get("tools")
    if isinstance(tools, list) and tools and not _tool_worked(messages):
        return _tool_call(tools[0], number)
    message = {"role": "assistant", "content": "Three findings, two risks and one next step.", "refusal": None}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}


def _tool_worked(messages: Sequence[Mapping[str, object]]) -> bool:
    """True when a tool has answered since the model last spoke, and not with an error."""
    for message in reversed(messages):
        if message.get("role") == "tool":
            return not str(message.get("content", "")).startswith("error")
        if message.get("role") == "assistant":
            return False
    return False


def _tool_call(tool: object, number: int) -> dict[str, object]:
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict) or "name" not in tool["function"]:
        raise Refusal(400, "invalid_type", "Each of 'tools' must be {'type': 'function', 'function': {'name': ...}}.")
    call = {
        "id": f"call_demo{number:08d}",
        "type": "function",
        "function": {"name": tool["function"]["name"], "arguments": '{"target": "checkout"}'},
    }
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
