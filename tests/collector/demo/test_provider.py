"""The stand-in provider, asked through the real openai SDK."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from genai_prices import Usage, calc_price
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from collector.demo.agents.prompt import said, tool, user
from collector.demo.completion import MODELS
from collector.demo.provider import serving
from collector.demo.tokens import count_tokens

SEARCH = tool("search_handbook", "Finds what the handbook says.")


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def test_an_answer_has_the_shape_and_the_usage_the_sdk_knows(client: OpenAI) -> None:
    messages = [user("Summarise this report.", "file-report-1")]
    answer = client.chat.completions.create(model="gpt-5-mini", messages=messages, max_completion_tokens=400)
    assert answer.model == "gpt-5-mini-2025-08-07"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == count_tokens(messages) == 22_010
    assert answer.usage.completion_tokens == 180 + 22_010 // 400
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == answer.usage.completion_tokens // 2


def test_output_never_passes_the_limit_that_was_asked_for(client: OpenAI) -> None:
    messages = [user("Summarise this report.", "file-report-1")]
    answer = client.chat.completions.create(model="gpt-5", messages=messages, max_completion_tokens=50)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 50


def test_a_tool_is_called_until_it_works(client: OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [user("What does our handbook ask?")]
    for result in ("error: no connection", "One chapter."):
        answer = client.chat.completions.create(model="gpt-5", messages=messages, tools=[SEARCH])
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.tool_calls is not None
        call_id = answer.choices[0].message.tool_calls[0].id
        messages += [
            said(answer.choices[0].message),
            {"role": "tool", "tool_call_id": call_id, "content": result},
            user("The chapter it found:", "file-handbook"),
        ]
    answer = client.chat.completions.create(model="gpt-5", messages=messages, tools=[SEARCH])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == count_tokens(messages)


def test_a_prompt_that_begins_like_an_earlier_one_is_read_from_the_cache(client: OpenAI) -> None:
    first = [user("Read this.", "file-report-1")]
    second: list[ChatCompletionMessageParam] = [*first, user("And now?")]
    other: list[ChatCompletionMessageParam] = [user("It is noon."), *first]
    cached = []
    for messages in (first, second, other):
        usage = client.chat.completions.create(model="gpt-5", messages=messages).usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        cached.append(usage.prompt_tokens_details.cached_tokens)
    assert cached == [0, count_tokens(first) // 128 * 128, 0]


def test_what_was_charged_is_told_by_model(url: str, client: OpenAI) -> None:
    answers = [
        client.chat.completions.create(model="gpt-4.1", messages=[user(f"{number}", "file-ci-history")])
        for number in range(3)
    ]
    usages = [answer.usage for answer in answers if answer.usage is not None]
    assert httpx.get(f"{url}/billed").json() == {
        "gpt-4.1-2025-04-14": {
            "calls": 3,
            "input_tokens": sum(usage.prompt_tokens for usage in usages),
            "cache_read_tokens": 0,
            "output_tokens": sum(usage.completion_tokens for usage in usages),
            "reasoning_tokens": 0,
        }
    }


def test_the_same_requests_get_the_same_answers() -> None:
    def three_answers() -> list[str]:
        with serving() as url, OpenAI(base_url=f"{url}/v1", api_key="none") as sdk:
            return [
                sdk.chat.completions.create(model="gpt-4.1", messages=[user("Again.", "file-handbook")]).to_json()
                for _ in range(3)
            ]

    assert three_answers() == three_answers()


@pytest.mark.parametrize(
    ("model", "documents", "error", "said_so"),
    [
        ("gpt-9", [], openai.NotFoundError, "does not exist"),
        ("gpt-4.1", ["file-unknown"], openai.NotFoundError, "No such file"),
        ("gpt-5", ["file-ci-history"] * 3, openai.BadRequestError, "maximum context length is 400000"),
    ],
)
def test_what_a_provider_refuses_is_refused(
    client: OpenAI, model: str, documents: list[str], error: type[Exception], said_so: str
) -> None:
    with pytest.raises(error, match=said_so):
        client.chat.completions.create(model=model, messages=[user("Read.", *documents)])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"model": "gpt-5"}', 400),
        ("/v1/chat/completions", b'{"model": "gpt-5", "messages": [1]}', 400),
        ("/v1/chat/completions", b'{"model": "gpt-5", "messages": [{"content": [1]}]}', 400),
        ("/v1/chat/completions", b'{"model": "gpt-5", "messages": [{}], "stream": true}', 400),
        ("/v1/chat/completions", b'{"model": "gpt-5", "messages": [{}], "max_completion_tokens": 0}', 400),
        ("/v1/chat/completions", b'{"model": "gpt-5", "messages": [{}], "tools": [1]}', 400),
        ("/v1/embeddings", b"{}", 404),
    ],
)
def test_a_request_that_makes_no_sense_gets_an_error_and_costs_nothing(
    url: str, path: str, body: bytes, status: int
) -> None:
    answer = httpx.post(f"{url}{path}", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert httpx.get(f"{url}/billed").json() == {}


def test_every_model_it_offers_has_a_real_price() -> None:
    for model in MODELS.values():
        price = calc_price(Usage(input_tokens=1_000_000, output_tokens=0), model.snapshot, provider_id="openai")
        assert price.total_price > 0
