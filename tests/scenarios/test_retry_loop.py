"""The seed's night: sixteen threads retry one failing task at 2 AM, and nobody changed a line of the agent.

The agent is the openai SDK under `opentelemetry-instrument`; the client that it loads gates every
call. What the provider billed is compared with the budget, the ledger and what people were told.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from collector.demo.provider import serving
from tests.collector.notifications.receivers import SlackReceiver
from tests.harness import Served

INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")
BUDGET_USD = Decimal(50)
# Every failure makes the conversation longer; 4 characters are a token to the provider.
AGENT = """
import json, sys, threading
import openai

client = openai.OpenAI(max_retries=2)
refusals = []

def loop(number):
    log = "the test database did not answer. " * 6_000
    refused = 0
    for attempt in range(100_000):
        log += f"attempt {attempt} of worker {number}: the test database did not answer. " * 40
        messages = [{"role": "user", "content": f"worker {number}, attempt {attempt}: mend the build. {log}"}]
        try:
            client.chat.completions.create(model="gpt-4.1", messages=messages, max_completion_tokens=1000)
        except openai.APIStatusError as no:
            refused += 1
            refusals.append({"kind": type(no).__name__, "message": str(no)})
            if refused == 3:
                return

threads = [threading.Thread(target=loop, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
json.dump(refusals, sys.stdout)
"""
PRICES_PER_MILLION = {"input": Decimal(2), "cached": Decimal("0.5"), "output": Decimal(8)}
"""What OpenAI lists for gpt-4.1."""

CONFIG = """
extensions:
  notifications:
    targets:
      - {{name: night-shift, type: slack, url: "{url}", allow_private: true}}
"""


def test_sixteen_threads_in_a_retry_loop_are_stopped_at_fifty_dollars(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """openai-agents-python#2848, trinity#1155 (a loop of $47,000), litellm#34732 (parallel calls pass), #32597."""
    with closing(SlackReceiver()) as slack, serving(latency_s=0.05) as provider:
        config = tmp_path / "spanward.yaml"
        config.write_text(CONFIG.format(url=slack.url))
        agents = tmp_path / "data" / "governance" / "acme" / "builds" / "agents"
        agents.mkdir(parents=True)
        (agents.parent.parent / "org.yaml").touch()
        (agents.parent / "tenant.yaml").touch()
        (agents / "mender.yaml").write_text(f"budgets: {{daily: {{usd: {BUDGET_USD}}}}}\n")
        server = serve(config=config)
        key = json.loads(server.run("keys", "create", "--agent", "acme/builds/mender", "--json"))["key"]
        refusals = run(tmp_path, server, provider, key)
        billed = bill(provider)
        server.seal()
        (spend,) = server.report("spend", "--by", "agent")["rows"]
        overdraw = overdrawn(server.data / "store")
    sys.stdout.write(f"billed {billed} of {BUDGET_USD} USD, {spend['calls']} calls, overdraw {overdraw} USD\n")

    assert billed <= BUDGET_USD + overdraw
    assert billed > BUDGET_USD * Decimal("0.9"), "nobody is blocked while there is room"
    assert Decimal(spend["cost_usd"]) == billed
    budget = "The daily budget of acme/builds/mender"
    assert slack.titles() == [f"{budget} has reached 80 %", f"{budget} has reached 90 %", f"{budget} is used up"]
    assert not slack.refused
    assert len(refusals) == 16 * 3
    for refusal in refusals:
        assert refusal["kind"] == "PermissionDeniedError", "a 429 would be retried by the SDK"
        assert budget in refusal["message"]
        assert "resets at" in refusal["message"]


def run(folder: Path, server: Served, provider: str, key: str) -> list[dict[str, str]]:
    """Let the agent loop until every thread was refused three times; what they were told."""
    agent = folder / "agent.py"
    agent.write_text(AGENT)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWARD_"))},
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{provider}/v1",
        "OTEL_SERVICE_NAME": "mender",
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.url("otlp_http"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={key}",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        # Three instrumentations of openai are installed here; two of them would send every prompt along.
        "TRACELOOP_TRACE_CONTENT": "false",
        "OPENINFERENCE_HIDE_INPUTS": "true",
        "SPANWARD_ENDPOINT": server.url("control"),
    }
    command = [str(INSTRUMENT), sys.executable, str(agent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    told: list[dict[str, str]] = json.loads(done.stdout)
    return told


def overdrawn(store: Path) -> Decimal:
    """What calls cost beyond their holds, USD, as the ledger last says of each hold."""
    last: dict[str, Decimal] = {}
    for segment in sorted(store.rglob("*.parquet")):
        for row in pq.read_table(segment, columns=["kind", "subject", "detail"]).to_pylist():
            if row["kind"] == "hold":
                last[row["subject"]] = Decimal(json.loads(row["detail"])["overdraw_usd"])
    return sum(last.values(), Decimal(0))


def bill(provider: str) -> Decimal:
    """What the provider charged, USD."""
    bills: dict[str, Any] = httpx.get(f"{provider}/billed").json()
    (charged,) = bills.values()
    uncached = charged["input_tokens"] - charged["cache_read_tokens"]
    tokens = {"input": uncached, "cached": charged["cache_read_tokens"], "output": charged["output_tokens"]}
    return sum((count * PRICES_PER_MILLION[kind] for kind, count in tokens.items()), Decimal(0)) / 1_000_000
