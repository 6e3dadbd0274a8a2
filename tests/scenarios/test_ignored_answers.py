"""Agents ask, are answered, and do otherwise; the ledger says who, and says nothing of those who did as they were told.

Everything is real: `spanward serve`, decisions over HTTP, spans over OTLP, keys by the command line. Nobody else
verifies adherence (peers.md U1: self-report, or proxies that are blind off-path): what an agent ran in spite of an
answer is seen, once, and nobody is accused of what was under way before.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.harness import Served
from tests.otlp import CHAT, Value, key_value, span, traces

QUESTION = {"model": "gpt-4o", "provider": "openai", "input_tokens": 1_000, "max_output_tokens": 100}
SETTINGS = {"processors.budgets.clock_tolerance": "100ms", "processors.adherence.shared_key_overlap": "0s"}
SECOND = 10**9
SNAPSHOT: dict[str, Any] = {"gen_ai.request.model": "gpt-4o-2024-08-06"}
MINI: dict[str, Any] = {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.response.model": "gpt-4o-mini-2024-07-18"}


class Agent:
    """One agent with its own key: it asks, and it sends spans."""

    def __init__(self, served: Served, name: str, *, usd: str = "5") -> None:
        path = f"default/default/{name}"
        made = json.loads(served.run("keys", "create", "--agent", path, "--register", "--json"))
        self.served, self.name = served, name
        self.headers = {"x-api-key": made["key"]}
        (served.data / f"governance/default/default/agents/{name}.yaml").write_text(
            f'budgets: {{daily: {{usd: "{usd}"}}}}\n'
        )
        wanted = ("daily", f"{float(usd):.9f}")
        wait_until(lambda: wanted in {(b["window"], b["limit"]) for b in self._budgets()})

    def _budgets(self) -> list[dict[str, Any]]:
        answer = httpx.get(self.served.url("control", "/v1/budgets"), headers=self.headers)
        return answer.json()["budgets"] if answer.status_code == 200 else []

    def ask(self) -> dict[str, Any]:
        url = self.served.url("control", "/v1/decisions")
        answer = httpx.post(url, json=QUESTION, headers=self.headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def call(self, decision: dict[str, Any] | None = None, *, start_ns: int | None = None, **more: Value) -> Span:
        """The span of a call that ran just now, unless said."""
        named: dict[str, Value] = {"spanward.decision.id": decision["decision_id"]} if decision else {}
        made = span({**CHAT, **named, **more}, start_ns=time.time_ns() if start_ns is None else start_ns)
        made.end_time_unix_nano = made.start_time_unix_nano + 10**6
        return made

    def send(self, *spans: Span, host: str = "", service: str = "test") -> None:
        request = traces(*spans, service=service)
        if host:
            request.resource_spans[0].resource.attributes.append(key_value("host.name", host))
        headers = {"content-type": "application/x-protobuf", **self.headers}
        url = self.served.url("otlp_http", "/v1/traces")
        httpx.post(url, content=request.SerializeToString(), headers=headers, timeout=30).raise_for_status()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def findings(served: Served) -> list[tuple[str, str]]:
    served.seal()
    rows = served.report("activity", "--kind", "finding")["rows"]
    return sorted((row["agent"], row["action"]) for row in rows)


def test_every_way_to_ignore_an_answer_is_found_and_honest_agents_are_not_mentioned(
    serve: Callable[..., Served],
) -> None:
    served = serve(settings={**SETTINGS, "processors.budgets.hold_ttl": "2s"})
    before = time.time_ns()
    poor, slow, swapper, sneak, honest, early = (
        Agent(served, name, usd=usd)
        for name, usd in {
            "poor": "0.000001", "slow": "5", "swapper": "5", "sneak": "5", "honest": "5", "early": "0.000001",
        }.items()
    )  # fmt: skip
    # Refused, and ran it: once saying so, twice without a word.
    refused = poor.ask()
    assert refused["verdict"] == "deny"
    time.sleep(0.3)
    poor.send(poor.call(refused), poor.call(), poor.call())
    # Allowed one model, ran another.
    swapper.send(swapper.call(swapper.ask(), **MINI))
    # Asked once, called twice.
    sneak.send(sneak.call(sneak.ask()))
    time.sleep(0.3)
    sneak.send(sneak.call())
    # Asked and did as it was told: with the id, without, on a snapshot by name, told twice.
    told = honest.call(honest.ask())
    honest.ask()
    honest.send(told, honest.call(), honest.call(honest.ask(), **SNAPSHOT))
    honest.send(told)
    # Ran what it ran before it was refused; its batch comes after.
    early_call = early.call(start_ns=before)
    assert early.ask()["verdict"] == "deny"
    time.sleep(0.3)
    early.send(early_call)
    # Allowed, and ran after the hold had expired; an honest one's span is as late.
    expired, in_time = slow.ask(), honest.ask()
    late = honest.call(in_time)
    time.sleep(2.5)
    slow.send(slow.call(expired))
    honest.send(late)
    assert findings(served) == [
        ("poor", "adherence.after_deny"),
        ("slow", "adherence.after_expiry"),
        ("sneak", "adherence.unasked"),
        ("swapper", "adherence.model"),
    ]
    (row,) = served.report("activity", "--kind", "finding", "--agent", "poor")["rows"]
    assert "ran 3 calls of gpt-4o-2024-08-06 although decision" in row["message"]
    spend = {row["agent"]: row["calls"] for row in served.report("spend", "--by", "agent")["rows"]}
    assert spend == {"poor": 3, "slow": 1, "swapper": 1, "sneak": 2, "honest": 4, "early": 1}


def test_who_runs_on_after_a_kill_is_found_and_who_began_before_it_is_not(serve: Callable[..., Served]) -> None:
    """peers.md U1: inject an agent that ignores the kill; no false finding for what started before."""
    served = serve(settings=SETTINGS)
    deaf, polite = Agent(served, "deaf"), Agent(served, "polite")
    under_way = polite.call(polite.ask())
    made = json.loads(served.run(
        "kill", "--scope", "llm", "--target", "default/default", "--reason", "a loop", "--no-wait", "--json"
    ))  # fmt: skip
    time.sleep(0.5)
    assert polite.ask()["verdict"] == "deny"
    deaf.send(deaf.call(), deaf.call())
    polite.send(under_way)
    assert findings(served) == [("deaf", "adherence.after_kill")]
    served.kill9()
    served.restart()
    deaf.send(deaf.call())
    served.run("kill", "release", _id(made), "--reason", "mended")
    time.sleep(0.5)
    deaf.send(deaf.call(deaf.ask()))
    assert findings(served) == [("deaf", "adherence.after_kill")] * 2
    rows = served.report("activity", "--kind", "finding")["rows"]
    assert [row["outcome"] for row in rows] == ["found", "continued"]
    assert ["2 calls" in rows[0]["message"], "a call" in rows[1]["message"]] == [True, True]


def _id(made: dict[str, Any]) -> str:
    return str(made["id"] if "id" in made else made["kill"]["id"])


def test_restarts_and_deliveries_again_add_no_finding_and_forget_no_refusal(serve: Callable[..., Served]) -> None:
    served = serve(settings=SETTINGS)
    agent = Agent(served, "poor", usd="0.000001")
    refused = agent.ask()
    served.kill9()
    served.restart()
    ignored = agent.call(refused)
    agent.send(ignored)
    served.kill9()
    served.restart()
    agent.send(ignored)
    expected = [("poor", "adherence.after_deny")]
    assert findings(served) == expected
    served.stop()
    served.restart()
    agent.send(ignored)
    assert findings(served) == expected


@pytest.mark.parametrize(("setting", "expected"), [("auto", []), ("finding", [("default", "adherence.unasked")])])
def test_a_fleet_that_only_emits_is_not_accused_unless_that_is_wanted(
    serve: Callable[..., Served], setting: str, expected: list[tuple[str, str]]
) -> None:
    served = serve(settings=SETTINGS | {"processors.adherence.on_unasked": setting})
    body = traces(*(span() for _ in range(50))).SerializeToString()
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers).raise_for_status()
    assert findings(served) == expected


def test_a_key_that_two_hosts_or_two_agents_use_is_found_and_a_restarted_agent_is_not(
    serve: Callable[..., Served],
) -> None:
    """peers.md 60 (faucet-stream#205) and 42: one key for everybody says nothing about who spent."""
    served = serve(settings=SETTINGS)
    lent, doubled, moved = (Agent(served, name) for name in ("lent", "doubled", "moved"))
    now = time.time_ns()
    for host, ago in (("laptop", 30), ("server", 20), ("laptop", 10)):
        lent.send(lent.call(start_ns=now - ago * SECOND), host=host)
    doubled.send(doubled.call(start_ns=now - 5 * SECOND), service="writer")
    doubled.send(doubled.call(start_ns=now - 4 * SECOND), service="reviewer")
    for host, ago in (("pod-1", 30), ("pod-1", 20), ("pod-2", 10), ("pod-2", 5)):
        moved.send(moved.call(start_ns=now - ago * SECOND), host=host)
    assert findings(served) == [("doubled", "keys.shared"), ("lent", "keys.shared")]
    (row,) = served.report("activity", "--kind", "finding", "--agent", "lent")["rows"]
    assert "host 'server' while host 'laptop' was using it" in row["message"]
