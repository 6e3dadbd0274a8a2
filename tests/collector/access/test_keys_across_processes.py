"""Two processes on one file: what the command line does, the server sees."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.access.keys import KeyStore
from schemas.errors import Unauthenticated
from tests.collector.access.conftest import OPERATOR, SECOND_NS, TRIAGE, Clock

PROLOGUE = """
import sys, time
from pathlib import Path
from collector.access.keys import KeyStore
from schemas.ids import AgentPath
store = KeyStore(Path(sys.argv[1]), clock=time.time_ns)
"""
CREATE = PROLOGUE + "print(store.create_agent_key(AgentPath('acme', 'support', 'triage'), actor='user:cli')[0])"
REVOKE = PROLOGUE + "store.revoke(sys.argv[2], actor='user:cli', reason='lost')"
CREATE_AND_REVOKE_FOR_EVER = (
    PROLOGUE
    + """
print("ready", flush=True)
while True:
    _, credential = store.create_agent_key(AgentPath("acme", "support", "triage"), actor="user:cli")
    store.revoke(credential.id, actor="user:cli", reason="lost")
"""
)


def other_process(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_key_created_by_another_process_works_at_once(store: KeyStore, db: Path, clock: Clock) -> None:
    own, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
    store.authenticate(own)
    foreign = other_process(CREATE, str(db))
    # The look caused by an unknown key is rate-limited, so it may take this long and no longer.
    clock.advance(SECOND_NS // 10)
    assert store.authenticate(foreign).path() == TRIAGE
    assert len(store.events(0)) == 2


def test_key_revoked_by_another_process_is_refused_after_the_refresh_interval(
    store: KeyStore, db: Path, clock: Clock
) -> None:
    text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    store.authenticate(text)
    other_process(REVOKE, str(db), created.id)
    clock.advance(SECOND_NS // 2)
    with pytest.raises(Unauthenticated, match="revoked"):
        store.authenticate(text)


def test_revocation_is_seen_although_the_clock_was_set_back(store: KeyStore, db: Path, clock: Clock) -> None:
    text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    store.authenticate(text)
    other_process(REVOKE, str(db), created.id)
    clock.advance(-3600 * SECOND_NS)
    with pytest.raises(Unauthenticated, match="revoked"):
        store.authenticate(text)


def test_first_starts_at_the_same_time_agree_on_one_pepper(db: Path) -> None:
    starts = [
        subprocess.Popen([sys.executable, "-c", CREATE, str(db)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    texts = [start.communicate()[0].strip() for start in starts]
    with KeyStore(db, clock=time.time_ns) as store:
        assert {store.authenticate(text).path() for text in texts} == {TRIAGE}


def test_killed_writer_leaves_no_key_without_its_entry(db: Path) -> None:
    for round_number in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", CREATE_AND_REVOKE_FOR_EVER, str(db)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.02 * (1 + round_number))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    with KeyStore(db, clock=time.time_ns) as store:
        credentials = store.list()
        told: set[tuple[object, object]] = set()
        last = 0
        while piece := store.events(last):
            told |= {(event.row["action"], event.row["subject"]) for _, event in piece}
            last = piece[-1][0]
    assert credentials
    assert told == {("keys.create", each.id) for each in credentials} | {
        ("keys.revoke", each.id) for each in credentials if each.revoked_ns is not None
    }
