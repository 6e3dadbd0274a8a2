"""Kills in any order with releases and restarts: what is in force is what was killed and not released."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.governance.kills import MAX_NAMED, Kills, Names, Order, Target
from collector.pricing.book import PriceBook
from collector.pricing.identity import Models
from collector.state.rows import KillRow, Named, ReleaseRow
from schemas.control import DecisionRequest
from schemas.errors import Permanent
from schemas.ids import AgentPath
from schemas.kills import KillScope, concerns

TRIAGE = AgentPath("acme", "support", "triage")
MODELS = Models(PriceBook())
CALL = DecisionRequest(model="gpt-4o", provider="openai")
SHELL = DecisionRequest(action="tool.call", tool="shell")


def order(scope: KillScope, target: str, reason: str = "a loop") -> Order:
    return Order(scope, Target.parse(target), reason, "user:ops")


def killed(*orders: tuple[KillScope, str]) -> Kills:
    kills = Kills(MODELS.identities)
    for number, (scope, target) in enumerate(orders):
        kills.kill(order(scope, target), f"kill_{number}", number)
    return kills


def rules(kills: Kills, request: DecisionRequest = CALL, path: AgentPath = TRIAGE) -> list[str]:
    return [reason.rule for reason in kills.refusals(path, request)]


@pytest.mark.parametrize(
    ("scope", "target", "call", "shell"),
    [
        ("all", "platform", True, True),
        ("all", "acme", True, True),
        ("all", "acme/support", True, True),
        ("all", "acme/support/triage", True, True),
        ("llm", "acme", True, False),
        ("new_keys", "platform", False, False),
        ("all", "acm", False, False),
        ("all", "acme/suppor", False, False),
        ("all", "acme/support/triage-2", False, False),
        ("all", "beta", False, False),
        ("all", "model:gpt-4o", True, False),
        ("llm", "model:gpt-4o", True, False),
        ("all", "model:gpt-4o-mini", False, False),
        ("all", "tool:shell", False, True),
        ("all", "tool:SHELL", False, True),
        ("all", "tool:she", False, False),
    ],
)
def test_a_kill_stops_what_it_names_and_nothing_else(scope: KillScope, target: str, *, call: bool, shell: bool) -> None:
    kills = killed((scope, target))
    rule = f"kill.{scope}.{Target.parse(target)}"
    assert rules(kills) == [rule] * call
    assert rules(kills, SHELL) == [rule] * shell
    assert kills.active is (scope != "new_keys")


@pytest.mark.parametrize(
    ("killed_name", "provider", "asked", "stopped"),
    [
        pytest.param("gpt-4o", "openai", "gpt-4o-2024-08-06", True, id="a dated id"),
        pytest.param("gpt-4o-2024-08-06", "openai", "gpt-4o", True, id="the alias of a dated id"),
        pytest.param("gpt-4o", "", "openai/gpt-4o", True, id="a provider's prefix"),
        pytest.param("openai/gpt-4o", "azure", "gpt-4o", True, id="another seller"),
        pytest.param("gpt-4o", "openai", "GPT-4o", True, id="capitals"),
        pytest.param("gpt-4o", "openai", " gpt-4o ", True, id="spaces"),
        pytest.param("claude-3-5-sonnet", "anthropic", "claude-3-5-sonnet-latest", True, id="latest"),
        pytest.param("claude-3-5-sonnet", "bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", True, id="Bedrock"),
        pytest.param(
            "claude-sonnet-4-0",
            "bedrock",
            "eu.anthropic.claude-sonnet-4-20250514-v1:0",
            True,
            id="a cross-region profile",
        ),
        pytest.param("claude-sonnet-4-0", "vertex_ai", "claude-sonnet-4@20250514", True, id="Vertex"),
        pytest.param("claude-sonnet-4-0", "openrouter", "anthropic/claude-sonnet-4", True, id="a reseller"),
        pytest.param("gpt-4o", "", "", True, id="a call that names no model may be the killed one"),
        pytest.param("gpt-4o", "openai", "gpt-4o-mini", False, id="a smaller sister"),
        pytest.param("gpt-4.1", "openai", "gpt-4.1-nano", False, id="the smallest"),
        pytest.param("o3", "openai", "o3-mini", False, id="a short name"),
        pytest.param("in-house", "", "in-house-2", False, id="names nobody lists"),
        pytest.param("in-house", "", "In-House", True, id="one nobody lists, in capitals"),
    ],
)
def test_no_alias_of_a_killed_model_slips_through(
    killed_name: str, provider: str, asked: str, *, stopped: bool
) -> None:
    """LiteLLM #40957 (alias), #33030 (a pattern that matches too much), #38572 and #39998 (fallbacks)."""
    kills = killed(("llm", f"model:{killed_name}"))
    assert bool(rules(kills, DecisionRequest(model=asked, provider=provider))) is stopped


def test_a_tool_call_without_a_name_may_be_the_killed_one_and_the_old_label_counts() -> None:
    kills = killed(("all", "tool:shell"))
    assert rules(kills, DecisionRequest(action="tool.call"))
    assert rules(kills, DecisionRequest(action="tool.call", labels={"tool": "shell"}))
    assert not rules(kills, DecisionRequest(action="tool.call", tool="search"))


def test_a_refusal_says_who_why_since_when_and_how_it_ends() -> None:
    kills = killed(("all", "acme"), ("llm", "platform"))
    widest, narrower = kills.refusals(TRIAGE, CALL)
    assert (widest.rule, narrower.rule) == ("kill.llm.platform", "kill.all.acme")
    assert narrower.message == "Everything of acme is stopped since 1970-01-01T00:00:00Z by user:ops: a loop."
    assert "spanward kill release kill_0" in narrower.fix


def test_the_same_kill_and_the_same_release_again_change_nothing() -> None:
    kills = Kills(MODELS.identities)
    first, new = kills.kill(order("all", "acme"), "kill_a", 1)
    again, new_again = kills.kill(order("all", "acme", "another reason"), "kill_b", 2)
    assert (new, new_again, again) == (True, False, first)
    assert kills.epoch == 1
    released = kills.release("kill_a", reason="mended", actor="user:ops", now_ns=3)
    assert released is not None
    assert kills.release("kill_a", reason="again", actor="user:ada", now_ns=4) == (*released[:2], False)
    assert (kills.epoch, kills.in_force, kills.active) == (2, [], False)
    assert kills.release("kill_b", reason="mended", actor="user:ops", now_ns=5) is None


@pytest.mark.parametrize(
    ("scope", "target", "reason", "complaint"),
    [
        ("all", "", "why", "not a valid id"),
        ("all", "Acme", "why", "'Acme' in the target"),
        ("all", "acme/support/triage/x", "why", "not the target of a kill"),
        ("all", "platform/support", "why", "not the target of a kill"),
        ("all", "acme/", "why", "not a valid id"),
        ("all", "model:", "why", "names nothing"),
        ("all", "tool: \n", "why", "names nothing"),
        ("all", "model:" + "m" * 300, "why", "names nothing"),
        ("llm", "tool:shell", "why", "stops no tool"),
        ("new_keys", "tool:shell", "why", "stops no tool"),
        ("new_keys", "model:gpt-4o", "why", "belong to no model"),
        ("all", "acme", "", "needs a reason"),
        ("all", "acme", "  ", "needs a reason"),
        ("all", "acme", "two\nlines", "needs a reason"),
        ("all", "acme", "r" * 1001, "needs a reason"),
    ],
)
def test_an_order_that_could_stop_nothing_is_refused(
    scope: KillScope, target: str, reason: str, complaint: str
) -> None:
    """AGT#3739: a kill that kills nothing and returns a good-looking result."""
    with pytest.raises(Permanent, match=complaint):
        Kills(MODELS.identities).kill(order(scope, target, reason), "kill_a", 1)


@pytest.mark.parametrize(
    ("target", "owner", "concerned"),
    [
        ("platform", "acme/support/triage", True),
        ("acme", "acme/support/triage", True),
        ("acme", "acmeco/support/triage", False),
        ("acme/support/triage", "acme/support/triage", True),
        ("acme/support/other", "acme/support/triage", False),
        ("acme/support/triage", "acme/support", True),
        ("acme/sup", "acme/support", False),
        ("beta/x/y", "acme/support", False),
        ("beta/x/y", "", True),
        ("model:gpt-4o", "acme/support", True),
    ],
)
def test_a_kill_concerns_who_is_below_it_and_a_tenants_key_any_agent_of_its(
    target: str, owner: str, *, concerned: bool
) -> None:
    assert concerns(target, owner) is concerned


ACTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["all", "llm", "new_keys"]),
            st.sampled_from(["platform", "acme", "acme/support", "acme/support/triage", "beta"]),
        ),
        st.integers(0, 8),
        st.just("restart"),
    ),
    max_size=30,
)


@given(acts=ACTS)
def test_what_is_in_force_is_what_was_killed_and_not_released_whatever_happens_in_between(acts: list[Any]) -> None:
    """cmcp#665: a restart lifts blocks that are in memory; LiteLLM #25553: a stale write brings a key back."""
    kills = Kills(MODELS.identities)
    model: dict[tuple[str, str], str] = {}
    rows: list[KillRow] = []
    releases: list[ReleaseRow] = []
    for now, act in enumerate(acts):
        before = kills.epoch
        if act == "restart":
            kills = Kills(MODELS.identities, rows, releases)
            assert kills.epoch == before
        elif isinstance(act, int):
            kill_id = rows[act].id if act < len(rows) else "kill_nobody_made"
            done = kills.release(kill_id, reason="mended", actor="user:ops", now_ns=now)
            if done and done[2]:
                releases.append(done[1])
                model.pop(done[0][1:3])
            assert kills.epoch == before + bool(done and done[2])
        else:
            row, new = kills.kill(order(*act), f"kill_{now}", now)
            rows += [row] * new
            model.setdefault(act, row.id)
            assert model[act] == row.id
            assert kills.epoch == before + new
        assert {(row.scope, row.target): row.id for row in kills.in_force} == model
        stopped = {f"kill.{scope}.{target}" for scope, target in model if scope != "new_keys" and target != "beta"}
        assert set(rules(kills)) == stopped
        assert {target for target, _ in kills.stops()} == {t for scope, t in model if scope == "new_keys"}


def test_names_are_known_once_asked_about_and_bounded() -> None:
    names = Names([Named("tool", "search")])
    assert names.new(SHELL) == [Named("tool", "shell")]
    assert names.new(SHELL) == []
    assert names.new(DecisionRequest(model="in-house")) == [Named("model", "in-house")]
    assert names.knows(Target.parse("tool:Search"), MODELS.identities)
    assert names.knows(Target.parse("model:IN-HOUSE"), MODELS.identities)
    assert not names.knows(Target.parse("tool:sear"), MODELS.identities)
    for number in range(MAX_NAMED):
        names.new(DecisionRequest(action="tool.call", tool=str(number)))
    assert names.new(DecisionRequest(action="tool.call", tool="one too many")) == []


def test_models_of_the_price_list_its_overlay_and_the_inventory_are_listed() -> None:
    assert MODELS.listed("gpt-4o")
    assert MODELS.listed("anthropic/claude-sonnet-4-5")
    assert not MODELS.listed("gtp-4o")
