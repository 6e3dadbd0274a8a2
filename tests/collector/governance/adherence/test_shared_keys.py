"""Sightings of keys in, findings of shared ones out; what fleets do every day makes none."""

from collections.abc import Callable

import pytest

from collector.governance.adherence.shared_keys import Sighting
from tests.collector.governance.adherence.matching import Matching
from tests.collector.governance.bookkeeping import DAY, MINUTE, NOON, SECOND

OPEN = Callable[..., Matching]
AGENT = "acme/support/triage"


def seen(what: str, user: str, first: int, last: int | None = None, *, key: str = "key1") -> Sighting:
    """Seconds after noon."""
    return Sighting(key, AGENT, what, user, NOON + first * SECOND, NOON + (first if last is None else last) * SECOND)  # type: ignore[arg-type]


def test_a_key_that_two_hosts_use_at_once_is_a_finding_told_once_a_day(matching: Matching) -> None:
    """peers.md 60 (faucet-stream#205): one shared token, and nobody knows who acted."""
    assert matching.seen(seen("host", "a", 0)) == []
    assert matching.seen(seen("host", "b", 10)) == []
    (found,) = matching.seen(seen("host", "a", 41))
    assert found["action"] == "keys.shared"
    assert (found["credential_id"], found["subject"], found["agent"]) == ("key1", "key1", "triage")
    assert "from host 'b' while host 'a' was using it" in found["message"]
    assert found["detail"]["cause"] == "2026-03-28 host b"
    assert matching.seen(seen("host", "b", 50), seen("host", "a", 60)) == []
    matching.restart()
    matching.seen(seen("host", "a", 0), seen("host", "b", 10))
    assert matching.seen(seen("host", "a", 90)) == []


def test_two_hosts_of_one_booking_are_seen_together(matching: Matching) -> None:
    assert len(matching.seen(seen("host", "a", 0, 100), seen("host", "b", 5, 90))) == 1


@pytest.mark.parametrize("what", ["agent", "process agent", "service"])
def test_a_key_that_sends_two_names_is_a_finding_at_once(matching: Matching, what: str) -> None:
    assert matching.seen(seen(what, "writer", 0)) == []
    (found,) = matching.seen(seen(what, "reviewer", 5))
    assert f"{what} 'reviewer'" in found["message"]


@pytest.mark.parametrize(
    "sightings",
    [
        pytest.param([("host", "a", 0, 100), ("host", "b", 105, 300)], id="moved"),
        pytest.param([("host", "a", 0, 100), ("host", "b", 80, 300)], id="rolling restart: the old pod ends its work"),
        pytest.param(
            [("host", "a", 0, 60), ("host", "b", 40, 120), ("host", "c", 100, 200)], id="two rolling restarts"
        ),
        pytest.param([("host", "a", 0, 60), ("host", "b", 61, 90), ("host", "a", 900, 950)], id="there and back"),
        pytest.param([("service", "a", 0, 60), ("service", "b", 700, 800)], id="renamed with a rest between"),
        pytest.param([("service", "api", 0, 60), ("agent", "writer", 5, 50)], id="names of different levels"),
        pytest.param([("host", "a", 0, 500)] * 3, id="one user, again and again"),
    ],
)
def test_what_fleets_do_every_day_is_no_finding(matching: Matching, sightings: list[tuple[str, str, int, int]]) -> None:
    for what, user, first, last in sightings:
        assert matching.seen(seen(what, user, first, last)) == []


def test_two_keys_on_two_hosts_are_two_keys(matching: Matching) -> None:
    assert matching.seen(seen("host", "a", 0, 100), seen("host", "b", 5, 90, key="key2")) == []


def test_a_hundred_replicas_make_at_most_one_finding_each(matching: Matching) -> None:
    for second in (0, 60, 120):
        matching.seen(*(seen("host", f"pod-{number:03}", second) for number in range(100)))
    told = [row["detail"]["cause"] for row in matching.found]
    assert len(told) == len(set(told)) <= 100


@pytest.mark.parametrize(
    ("setting", "names", "hosts"), [("both", 1, 1), ("agents", 1, 0), ("hosts", 0, 1), ("off", 0, 0)]
)
def test_what_makes_a_shared_key_is_a_setting(open_matching: OPEN, setting: str, names: int, hosts: int) -> None:
    matching = open_matching(shared_key=setting)
    assert len(matching.seen(seen("service", "a", 0), seen("service", "b", 1))) == names
    assert len(matching.seen(seen("host", "a", 0, 100), seen("host", "b", 1))) == hosts


def test_how_long_an_old_host_may_go_on_is_a_setting(open_matching: OPEN) -> None:
    sightings = seen("host", "a", 0, 20), seen("host", "b", 5, 20)
    assert len(open_matching(shared_key_overlap="0s").seen(*sightings)) == 1
    assert open_matching(shared_key_overlap="15s").seen(*sightings) == []


def test_how_near_two_uses_must_be_is_a_setting(open_matching: OPEN) -> None:
    sightings = seen("service", "a", 0), seen("service", "b", 5)
    assert open_matching(shared_key_window="4s").seen(*sightings) == []
    assert len(open_matching(shared_key_window="5s").seen(*sightings)) == 1


def test_keys_that_rest_are_forgotten(matching: Matching) -> None:
    matching.seen(seen("host", "a", 0))
    matching.wait(MINUTE)
    matching.adherence.forget(matching.now)
    assert matching.adherence._shared_keys._users
    matching.wait(DAY)
    matching.adherence.forget(matching.now)
    assert not matching.adherence._shared_keys._users
