"""The tables as such: what they want, and what they claim."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.dialects import DIALECTS
from collector.dialects.dialect import TEXT_COLUMNS, TOKEN_COLUMNS, wanted_keys
from collector.pricing.names import Names
from collector.processors.normalise import normalise
from schemas.accounting import Role
from tests import otlp
from tests.captures_on_disk import Recorded, emitters, requests
from tests.collector.booking import decode

# Every prompt of the recorded scenarios has the one, every answer of the recorded provider the other.
CONTENT = r"\[step:|Answer number|14 C"

READ_WITH = {
    "anthropic-legacy-openllmetry": {"openllmetry"},
    "anthropic-official": {"anthropic_sdk", "genai"},
    "anthropic-openinference": {"anthropic_sdk", "openinference"},
    "claude-code": {"claude_code", "claude_code_spans"},
    "codex-cli": {"codex_cli"},
    "crewai-openinference": {"crewai"},
    "double-official": {"genai"},
    "double-openllmetry": {"openllmetry"},
    "gemini-cli": {"gemini_cli"},
    "google-adk": {"google_adk"},
    "langchain-openinference": {"openinference"},
    "litellm-otel": {"litellm"},
    "mcp-sdk-native": {"mcp"},
    "openai-agents-official": {"openai_agents"},
    "openai-openllmetry": {"openllmetry"},
    "openai-v2-default": {"openai_v2"},
    "platform-langfuse": {"langfuse"},
    "platform-langsmith": {"langsmith"},
    "platform-mlflow": {"mlflow"},
    "pydantic-ai": {"anthropic_sdk", "pydantic_ai"},
    "strands": {"strands"},
    "vercel-ai-6": {"vercel_ai"},
}


def normalised(rows: pa.Table) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = normalise(rows, DIALECTS, Names()).to_pylist()
    return records


def role_of(span: Span) -> str | None:
    body = otlp.traces(span).SerializeToString()
    (record,) = normalised(decode([Recorded("traces", "http", body, as_json=False)]))
    role: str | None = record["accounting_role"]
    return role


@pytest.mark.parametrize(("emitter", "dialects"), READ_WITH.items())
def test_each_emitter_is_read_with_its_own_table(emitter: str, dialects: set[str]) -> None:
    records = normalised(decode(list(requests(emitter))))
    assert {record["dialect"] for record in records if record["accounting_role"]} == dialects


@pytest.mark.parametrize("emitter", emitters())
def test_no_prompt_output_or_argument_is_read(emitter: str) -> None:
    rows = decode(list(requests(emitter)))
    texts = {name: rows[name].drop_null().unique() for name in rows.column_names if pa.types.is_string(rows[name].type)}
    told = {name for name, column in texts.items() if pc.any(pc.match_substring_regex(column, CONTENT)).as_py()}
    assert told == set()


def test_a_key_is_wanted_as_one_type() -> None:
    """Counts as integers, everything else as text, whichever dialect asks last."""
    wanted = wanted_keys(DIALECTS)
    for dialect in DIALECTS:
        for column in (*TEXT_COLUMNS, *TOKEN_COLUMNS):
            kind = int if column in TOKEN_COLUMNS else str
            assert {key: wanted[key] for key in dialect.keys(column)} == dict.fromkeys(dialect.keys(column), kind)


def test_each_table_says_who_it_is_for_and_what_they_can_do() -> None:
    assert len({dialect.name for dialect in DIALECTS}) == len({dialect.title for dialect in DIALECTS}) == len(DIALECTS)
    for dialect in DIALECTS:
        assert dialect.title
        assert dialect.advice.endswith(".")
        assert dialect.source.startswith("https://")
        assert dialect.marks or dialect.scopes


def event(scope: str, attributes: Mapping[str, otlp.Value]) -> dict[str, Any]:
    request = otlp.logs("")
    (logs,) = request.resource_logs[0].scope_logs
    logs.scope.name = scope
    logs.log_records[0].attributes.extend(otlp.key_value(key, value) for key, value in attributes.items())
    (record,) = normalised(decode([Recorded("logs", "http", request.SerializeToString(), as_json=False)]))
    return record


def test_an_application_s_own_event_is_not_taken_for_claude_code_s() -> None:
    assert event("app", {"event.name": "api_request"})["accounting_role"] is None


def test_claude_code_s_input_leaves_out_what_was_cached() -> None:
    """However little it was: no count shows it."""
    counts = {"input_tokens": 500, "cache_read_tokens": 60, "cache_creation_tokens": 40, "output_tokens": 9}
    record = event("com.anthropic.claude_code.events", {"event.name": "api_request", "model": "claude", **counts})
    assert (record["accounting_role"], record["input_tokens"]) == (Role.CALL, 600)


def test_gemini_cli_s_output_leaves_out_thoughts() -> None:
    counts = {"input_token_count": 10, "output_token_count": 50, "thoughts_token_count": 20}
    record = event("gemini-cli", {"event.name": "gemini_cli.api_response", "model": "gemini-2.5-flash", **counts})
    assert (record["accounting_role"], record["output_tokens"]) == (Role.CALL, 70)


@pytest.mark.parametrize("kind", ["retriever", "prompt"])
def test_langsmith_s_retrievers_and_prompts_are_no_calls(kind: str) -> None:
    attributes = {"langsmith.span.kind": kind, "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "m"}
    assert role_of(otlp.span(attributes)) is None


def test_adk_s_span_around_parallel_tools_is_no_tool() -> None:
    attributes = {"gcp.vertex.agent.invocation_id": "e-1", "gen_ai.operation.name": "execute_tool"}
    assert role_of(otlp.span(attributes, name="execute_tool get_weather")) == Role.TOOL
    assert role_of(otlp.span(attributes, name="execute_tool (merged)")) == Role.ECHO


def test_the_first_generation_s_names_are_read() -> None:
    attributes: Mapping[str, otlp.Value] = {
        "gen_ai.system": "OpenAI",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 10,
        "gen_ai.usage.completion_tokens": 5,
    }
    assert role_of(otlp.span(attributes)) == Role.CALL
