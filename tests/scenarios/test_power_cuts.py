"""An agent keeps sending while its collector is killed again and again, at moments nobody chose.

What was acknowledged is in the ledger, once; what the agent had to send again is not billed twice;
and what the budgets say afterwards is what the ledger says.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from decimal import Decimal

import httpx
import psutil
import pytest

from tests.harness import Served
from tests.otlp import CHAT_NANO_USD, span, traces

ROUNDS = 30
SPANS_IN_A_BATCH = 20


class Agent(threading.Thread):
    """Sends batch after batch, each until it is acknowledged, as an OTLP exporter does."""

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self._served = served
        self._done = threading.Event()
        self.acknowledged: list[str] = []
        self.refusals: list[str] = []

    def run(self) -> None:
        while not self._done.is_set():
            spans = [span() for _ in range(SPANS_IN_A_BATCH)]
            if self._send(traces(*spans).SerializeToString()):
                self.acknowledged += [each.span_id.hex() for each in spans]

    def _send(self, body: bytes) -> bool:
        headers = {"content-type": "application/x-protobuf", "x-api-key": self._served.agent_key}
        while not self._done.is_set():
            try:
                answer = httpx.post(
                    self._served.url("otlp_http", "/v1/traces"), content=body, headers=headers, timeout=20
                )
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                return True
            if answer.status_code != 503:
                self.refusals.append(f"{answer.status_code} {answer.text[:200]}")
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        self._done.set()
        self.join()


def kill_only_the_parent(served: Served) -> None:
    """What `kill -9 PID` does: the owner process must notice by itself and let go."""
    os.kill(served.pid, signal.SIGKILL)
    assert served._process is not None
    served._process.wait()


@pytest.mark.timeout(600)
def test_no_acknowledged_span_is_lost_and_none_is_billed_twice(served: Served) -> None:
    """P1, P2, P4. Peers: a retried span counted twice (clawmetry#5963), loss on restart (otelcol#11056)."""
    seed = random.randrange(2**32)
    random.seed(seed)
    (served.data / "governance/default/org.yaml").write_text("budgets: {monthly: {usd: 1000000}}\n")
    agents = [Agent(served) for _ in range(3)]
    for agent in agents:
        agent.start()
    for _ in range(ROUNDS):
        time.sleep(random.uniform(0.0, 0.5))
        kill_only_the_parent(served)
        served.restart()
    for agent in agents:
        agent.stop()
    served.seal()
    acknowledged = [span_id for agent in agents for span_id in agent.acknowledged]
    report = served.report("activity", "--kind", "call")
    stored = [row["span_id"] for row in report["rows"]]
    assert [agent.refusals for agent in agents] == [[], [], []], f"seed {seed}"
    assert len(acknowledged) > ROUNDS, "the agents never got through: the test shows nothing"
    assert len(stored) == len(set(stored)), f"stored twice, seed {seed}"
    assert set(acknowledged) <= set(stored), f"lost, seed {seed}"
    completeness = report["completeness"]
    assert completeness["received"] == completeness["stored"] + completeness["duplicate"] + completeness["rejected"]
    assert completeness["stored"] == len(stored), f"seed {seed}"
    billed = sum(Decimal(row["cost_usd"]) for row in report["rows"])
    assert billed == Decimal(CHAT_NANO_USD) * len(stored) / 10**9
    assert settled_usd(served) == billed, f"the budgets disagree with the ledger, seed {seed}"


def test_a_seal_returns_while_agents_keep_sending(served: Served) -> None:
    """It covers what was acknowledged before it was asked for, and nothing that arrives meanwhile prolongs it."""
    agents = [Agent(served) for _ in range(3)]
    for agent in agents:
        agent.start()
    for _ in range(3):
        before = [list(agent.acknowledged) for agent in agents]
        served.seal()
        stored = {row["span_id"] for row in served.report("activity", "--kind", "call")["rows"]}
        assert {span_id for acknowledged in before for span_id in acknowledged} <= stored
    for agent in agents:
        agent.stop()


def settled_usd(served: Served) -> Decimal:
    """What the daily windows of the organisation say was spent."""
    headers = {"authorization": f"Bearer {served.admin_token}"}
    budgets = httpx.get(served.url("control", "/v1/budgets"), headers=headers).json()["budgets"]
    return sum(
        (Decimal(b["settled"]) for b in budgets if b["scope"] == "default" and b["window"] == "monthly"), Decimal(0)
    )


def test_the_owner_process_alone_may_die_and_a_restart_is_whole(serve: Callable[..., Served]) -> None:
    served = serve()
    (owner,) = psutil.Process(served.pid).children()
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    body = traces(span()).SerializeToString()
    httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers).raise_for_status()
    owner.kill()
    assert served._process is not None
    assert served._process.wait(30) == 70, "a collector whose owner is gone stops and says so"
    served.restart()
    served.seal()
    assert served.report("spend")["rows"][0]["calls"] == 1
