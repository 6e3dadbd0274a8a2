"""A broken build in, invoices out: the agent whose tool keeps failing and that never gives up.

Each attempt adds the newest failure to the conversation, so each costs more than the one before.
The clock at the top of the prompt makes every prompt new to the provider's cache, as it does in the
wild. Nothing in here limits the damage; the budget does.
"""

from datetime import UTC, datetime

import spanward_client
from openai import OpenAI
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageParam
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from collector.demo.agents.prompt import said, tool, user
from collector.demo.agents.wiring import observe, say, until_stopped
from collector.demo.tokens import count_tokens

MODEL = "gpt-4.1"
MAX_OUTPUT_TOKENS = 1000
PAUSE_S = 0.05
PAUSE_AFTER_NO_S = 4.0

RUN_TESTS = tool("run_tests", "Runs the tests of the build.")


def ask(openai: OpenAI, messages: list[ChatCompletionMessageParam]) -> ChatCompletionMessage:
    """One call of the model, with room in the budgets for it."""
    with spanward_client.hold(
        model=MODEL, provider="openai", input_tokens=count_tokens(messages), max_output_tokens=MAX_OUTPUT_TOKENS
    ):
        answer = openai.chat.completions.create(
            model=MODEL, messages=messages, tools=[RUN_TESTS], max_completion_tokens=MAX_OUTPUT_TOKENS
        )
    return answer.choices[0].message


def run_tests(tracer: Tracer, call_id: str) -> list[ChatCompletionMessageParam]:
    """The tool that keeps failing."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "run_tests",
        "gen_ai.tool.call.id": call_id,
    }
    with tracer.start_as_current_span("execute_tool run_tests", attributes=attributes) as span:
        span.set_attribute("error.type", "TimeoutError")
        span.set_status(Status(StatusCode.ERROR, "the test database did not answer"))
    return [
        {"role": "tool", "tool_call_id": call_id, "content": "error: the test database did not answer"},
        user("The log of that run:", "file-ci-failure"),
    ]


def main() -> None:
    """Retry until told to stop, whatever the answer."""
    stop = until_stopped()
    tracer = observe("retry-loop", OTLPSpanExporter())
    openai = OpenAI()
    conversation: list[ChatCompletionMessageParam] = [user("The build is red. Mend it.", "file-ci-history")]
    pause_s = PAUSE_S
    while not stop.wait(pause_s):
        clock: ChatCompletionMessageParam = {"role": "system", "content": f"It is {datetime.now(UTC)}."}
        try:
            message = ask(openai, [clock, *conversation])
        except spanward_client.BudgetExceeded as no:
            say(f"refused by {no.rule}: {no.reason} To mend: {no.fix}")
            pause_s = PAUSE_AFTER_NO_S
            continue
        conversation.append(said(message))
        for call in message.tool_calls or []:
            conversation += run_tests(tracer, call.id)
    say("stopped")


if __name__ == "__main__":
    main()
