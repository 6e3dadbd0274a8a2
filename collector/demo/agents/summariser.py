"""A report in, its summary out: the agent that stays well inside its budget.

It asks before each call with `hold`; the span of the call settles the hold with the true cost.
"""

from itertools import cycle

import spanward_client
from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from collector.demo.agents.prompt import user
from collector.demo.agents.wiring import observe, say, until_stopped
from collector.demo.tokens import count_tokens

MODEL = "gpt-5-mini"
MAX_OUTPUT_TOKENS = 400
PAUSE_S = 1.5


def summarise(openai: OpenAI, report: str) -> str | None:
    """One summary; raises `spanward_client.Denied` when there is no room for it."""
    messages = [user("Summarise this report.", report)]
    with spanward_client.hold(
        model=MODEL, provider="openai", input_tokens=count_tokens(messages), max_output_tokens=MAX_OUTPUT_TOKENS
    ):
        answer = openai.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=MAX_OUTPUT_TOKENS)
    return answer.choices[0].message.content


def main() -> None:
    """Summarise until told to stop."""
    stop = until_stopped()
    observe("summariser", OTLPSpanExporter())
    openai = OpenAI()
    for report in cycle(["file-report-1", "file-report-2", "file-report-3"]):
        summarise(openai, report)
        if stop.wait(PAUSE_S):
            break
    say("stopped")


if __name__ == "__main__":
    main()
