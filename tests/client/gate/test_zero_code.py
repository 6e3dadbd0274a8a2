"""`opentelemetry-instrument python agent.py`, a real Spanward, a stub provider, and not a line of ours in the agent."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.client.provider import Provider
from tests.harness import Served

AGENT = """
from openai import OpenAI

answer = OpenAI().chat.completions.create(
    model="gpt-5-mini", messages=[{"role": "user", "content": "Why is the sky blue?"}], max_completion_tokens=1000
)
print(answer.choices[0].message.content)
"""
CALL_USD = "0.000016075"
"""8 tokens at 0.25 USD, 3 cached at 0.025 and 7 out at 2 USD a million: only the span knows of the cache."""
INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")


def run(agent: Path, server: Served, provider: Provider, *, key: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWARD_"))},
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OTEL_SERVICE_NAME": "agent",
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.url("otlp_http"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={key}",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "SPANWARD_ENDPOINT": server.url("control"),
    }
    command = [str(INSTRUMENT), sys.executable, str(agent)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_an_unchanged_agent_is_held_settled_by_its_span_and_stopped_at_its_budget(
    serve: Callable[..., Served], provider: Provider, tmp_path: Path
) -> None:
    agents = tmp_path / "data" / "governance" / "acme" / "support" / "agents"
    agents.mkdir(parents=True)
    (agents.parent.parent / "org.yaml").touch()
    (agents.parent / "tenant.yaml").touch()
    (agents / "triage.yaml").write_text("budgets:\n  daily: {usd: 1}\n")
    server = serve()
    key = json.loads(server.run("keys", "create", "--agent", "acme/support/triage", "--json"))["key"]
    agent = tmp_path / "agent.py"
    agent.write_text(AGENT)

    done = run(agent, server, provider, key=key)
    assert done.returncode == 0, done.stderr
    assert len(provider.asked) == 1
    server.seal()
    (row,) = server.report("spend", "--by", "agent")["rows"]
    assert (row["calls"], row["cost_usd"]) == (1, CALL_USD)
    (budget,) = ask(server, key)["budgets"]
    assert (budget["settled"], budget["held"]) == (CALL_USD, "0.000000000")

    (agents / "triage.yaml").write_text("budgets:\n  daily: {usd: 0.0001}\n")
    deadline = 100
    while ask(server, key)["budgets"][0]["limit"] != "0.000100000" and deadline:
        deadline -= 1
    refused = run(agent, server, provider, key=key)
    assert refused.returncode == 1
    assert "PermissionDeniedError" in refused.stderr
    assert (
        "Spanward refused this call: The daily budget of acme/support/triage has 0.000083925 USD left" in refused.stderr
    )
    assert len(provider.asked) == 1


def ask(server: Served, key: str) -> dict[str, Any]:
    """What the budgets say: an action that costs nothing and holds nothing."""
    question = {"action": "tool.call", "tool": "look"}
    headers = {"authorization": f"Bearer {key}"}
    answer: dict[str, Any] = httpx.post(server.url("control", "/v1/decisions"), json=question, headers=headers).json()
    return answer
