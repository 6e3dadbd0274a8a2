"""A kill of new keys: none is made, none that was never used gets in, and those in use go on."""

from pathlib import Path

import pytest

from collector.access.first_use import Stop
from collector.access.keys import KeyStore
from schemas.errors import Forbidden
from schemas.ids import AgentPath, TenantPath
from tests.collector.access.conftest import OPERATOR, SECOND_NS, TRIAGE, Clock

SUPPORT = TenantPath("acme", "support")


def stops(*targets: str) -> list[Stop]:
    return [Stop(target, f"New keys of {target} stopped by user:ops: leaked") for target in targets]


@pytest.mark.parametrize("target", ["platform", "acme", "acme/support", "acme/support/triage"])
def test_no_key_of_a_stopped_owner_is_made_or_used_for_the_first_time(db: Path, clock: Clock, target: str) -> None:
    with KeyStore(db, clock=clock) as store:
        used, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
        unused, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
        tenants, _ = store.create_tenant_key(SUPPORT, actor=OPERATOR)
        store.authenticate(used)
        store.set_stops(stops(target))
        assert store.authenticate(used)
        for key in (unused, tenants):
            with pytest.raises(Forbidden, match=r"its first use is refused.*stopped by user:ops: leaked"):
                store.authenticate(key)
        with pytest.raises(Forbidden, match="No key is made"):
            store.create_agent_key(TRIAGE, actor=OPERATOR)
        with pytest.raises(Forbidden, match="No key is made"):
            store.create_tenant_key(SUPPORT, actor=OPERATOR)
        assert len(store.events(0)) == 3, "a refused key leaves no entry of a key"
        store.set_stops([])
        assert store.authenticate(unused) == created
        assert store.create_agent_key(TRIAGE, actor=OPERATOR)


def test_others_go_on(db: Path, clock: Clock) -> None:
    with KeyStore(db, clock=clock) as store:
        store.set_stops(stops("acme/support/summariser", "beta"))
        key, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
        assert store.authenticate(key)
        other, _ = store.create_agent_key(AgentPath("acme", "sales", "bot"), actor=OPERATOR)
        assert store.authenticate(other)


def test_an_administrator_is_never_locked_out(db: Path, clock: Clock) -> None:
    """Somebody must be able to release, and his token may never have been used."""
    with KeyStore(db, clock=clock) as store:
        store.set_stops(stops("platform"))
        token, _ = store.create_admin_token(actor=OPERATOR)
        assert store.authenticate(token).kind == "admin"


def test_what_one_process_saw_all_others_know(db: Path, clock: Clock) -> None:
    """LiteLLM #9820: a blocked key works on four of five pods."""
    with KeyStore(db, clock=clock) as one, KeyStore(db, clock=clock) as other:
        used, _ = one.create_agent_key(TRIAGE, actor=OPERATOR)
        unused, _ = one.create_agent_key(TRIAGE, actor=OPERATOR)
        assert one.authenticate(used)
        one.set_stops(stops("acme"))
        clock.advance(SECOND_NS)
        with pytest.raises(Forbidden):
            other.authenticate(unused)
        assert other.authenticate(used), "its first use was at another door"
        with pytest.raises(Forbidden):
            other.create_agent_key(TRIAGE, actor=OPERATOR)
    with KeyStore(db, clock=clock) as later:
        with pytest.raises(Forbidden):
            later.authenticate(unused)
        assert later.authenticate(used)
