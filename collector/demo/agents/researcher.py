"""A question in, an answer with sources out: the agent that uses a tool, over OTLP/gRPC.

Its tool runs in a span of its own (`execute_tool`, GenAI semantic conventions), so the ledger knows
which tool ran between which calls.
"""

import spanward_client
from openai import OpenAI
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageParam
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.trace import Tracer

from collector.demo.agents.prompt import said, tool, user
from collector.demo.agents.wiring import observe, say, until_stopped
from collector.demo.tokens import count_tokens

MODEL = "gpt-5"
MAX_OUTPUT_TOKENS = 800
PAUSE_S = 1.0

SEARCH = tool("search_handbook", "Finds what the handbook says.")


def ask(openai: OpenAI, messages: list[ChatCompletionMessageParam]) -> ChatCompletionMessage:
    """One call of the model, with room in the budgets for it."""
    with spanward_client.hold(
        model=MODEL, provider="openai", input_tokens=count_tokens(messages), max_output_tokens=MAX_OUTPUT_TOKENS
    ):
        answer = openai.chat.completions.create(
            model=MODEL, messages=messages, tools=[SEARCH], max_completion_tokens=MAX_OUTPUT_TOKENS
        )
    return answer.choices[0].message


def search_handbook(tracer: Tracer, call_id: str) -> list[ChatCompletionMessageParam]:
    """The tool: what the handbook has to say."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search_handbook",
        "gen_ai.tool.call.id": call_id,
    }
    with tracer.start_as_current_span("execute_tool search_handbook", attributes=attributes):
        found = "One chapter."
    return [
        {"role": "tool", "tool_call_id": call_id, "content": found},
        user("The chapter it found:", "file-handbook"),
    ]


def research(openai: OpenAI, tracer: Tracer, question: str) -> str | None:
    """Call the model and its tool in turn until it answers in words."""
    messages: list[ChatCompletionMessageParam] = [user(question, "file-report-2", "file-report-3")]
    while (message := ask(openai, messages)).tool_calls:
        messages.append(said(message))
        for call in message.tool_calls:
            messages += search_handbook(tracer, call.id)
    return message.content


def main() -> None:
    """Research until told to stop."""
    stop = until_stopped()
    tracer = observe("researcher", OTLPSpanExporter())
    openai = OpenAI()
    number = 0
    while not stop.wait(PAUSE_S):
        number += 1
        research(openai, tracer, f"{number}. What changed between these reports, and what does our handbook ask of us?")
    say("stopped")


if __name__ == "__main__":
    main()
