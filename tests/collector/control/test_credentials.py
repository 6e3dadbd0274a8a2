"""A key is checked once a moment, and a revoked one is not taken for good longer than that."""

import pytest

from collector.access.keys import Credential
from collector.control.credentials import Credentials
from schemas.errors import Unauthenticated
from schemas.ids import CredentialId

TRIAGE = Credential(CredentialId("one"), "agent", "acme", "support", "triage", 0, None, None)


class Store:
    """Counts what it is asked, and refuses what was revoked."""

    def __init__(self) -> None:
        self.asked = 0
        self.revoked = False
        self.now = 1_000

    def authenticate(self, text: str) -> Credential:
        self.asked += 1
        if self.revoked or text != "key":
            raise Unauthenticated("unknown")
        return TRIAGE


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def credentials(store: Store) -> Credentials:
    return Credentials(store.authenticate, recheck_ns=100, clock=lambda: store.now)


def test_a_key_in_use_is_asked_about_once_a_moment(store: Store, credentials: Credentials) -> None:
    for _ in range(10):
        assert credentials.of("key") == TRIAGE
    assert store.asked == 1
    store.now += 100
    credentials.of("key")
    assert store.asked == 2


@pytest.mark.parametrize("step", [100, -1], ids=["time passes", "the clock is put back"])
def test_a_revoked_key_is_refused_at_the_next_check(store: Store, credentials: Credentials, step: int) -> None:
    credentials.of("key")
    store.revoked = True
    credentials.of("key")
    store.now += step
    with pytest.raises(Unauthenticated):
        credentials.of("key")


def test_a_refusal_is_not_remembered(store: Store, credentials: Credentials) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            credentials.of("guess")
    assert store.asked == 3


def test_keys_in_use_do_not_fill_the_memory() -> None:
    credentials = Credentials(lambda _: TRIAGE, recheck_ns=10**18, clock=lambda: 0)
    for number in range(10_050):
        credentials.of(str(number))
    assert len(credentials._checked) <= 10_000
