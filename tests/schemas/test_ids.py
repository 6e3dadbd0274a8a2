"""Names and paths in, valid ids out, and different agents stay different."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import Permanent
from schemas.ids import ID_PATTERN, AgentPath, TenantPath, agent_id

IDS = st.from_regex(ID_PATTERN, fullmatch=True)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("triage", "triage"),
        ("a--b", "a--b"),
        ("Triage Agent", "triage-agent"),
        ("  Zoë's  (v2) bot! ", "zoe-s-v2-bot"),
        ("research_agent", "research-agent"),
        ("ﬁnance №5", "finance-no5"),
        ("bot 🤖", "bot"),
        ("x" * 40, "x" * 40),
    ],
)
def test_a_name_is_folded_to_the_id_a_person_would_write(name: str, id_: str) -> None:
    assert agent_id(name) == id_


@given(st.text())
@example("")
@example("🤖")
@example("İ")
@example("\udc80")
@example("a" * 31 + "-" * 9 + "b")
@example("-" * 41)
def test_any_name_becomes_a_valid_id_that_stays_what_it_is(name: str) -> None:
    id_ = agent_id(name)
    assert ID_PATTERN.fullmatch(id_)
    assert agent_id(id_) == id_ == agent_id(name)


@given(IDS)
def test_a_valid_id_is_its_own(id_: str) -> None:
    assert agent_id(id_) == id_


@given(
    start=st.text("abc -", min_size=40, max_size=60), ends=st.sets(st.text("abc", min_size=1), min_size=2, max_size=9)
)
def test_names_that_differ_beyond_the_cut_stay_different_agents(start: str, ends: set[str]) -> None:
    names = {f"a{start}x{end}" for end in ends}
    assert len({agent_id(name) for name in names}) == len(names)


def test_names_in_letters_that_ascii_lacks_stay_different_agents() -> None:
    names = ["агент", "бот", "агент 1", "бот 1", "日本語", "分析 1", "🤖", "🦾", "straße", "strasse"]
    assert len({agent_id(name) for name in names}) == len(names)
    assert agent_id("Агент!") == agent_id("агент")
    assert agent_id("агент 1").startswith("1-")


@given(IDS, IDS)
def test_a_tenant_path_reads_back_as_it_is_written(org: str, tenant: str) -> None:
    path = TenantPath(org, tenant)
    assert TenantPath.parse(str(path)) == path
    assert path.scopes() == AgentPath(org, tenant, "any").scopes()[:3]


@pytest.mark.parametrize("text", ["", "acme", "acme/", "acme/support/triage", "../support", "Acme/support"])
def test_what_is_no_tenant_path_is_refused(text: str) -> None:
    with pytest.raises(Permanent):
        TenantPath.parse(text)
