"""Kills and releases in, the times calls are held against out."""

from collector.governance.adherence.stops import Stop, lately
from collector.governance.kills import Kills, Order, Target
from tests.collector.governance.bookkeeping import DAY, HOUR, NOON


def test_kills_in_force_count_for_ever_and_released_ones_as_long_as_late_calls_may_come() -> None:
    kills = Kills(lambda _, model: frozenset({model}))
    for number, target in enumerate(("acme", "acme/support")):
        kills.kill(Order("llm", Target.parse(target), "a loop", "user:ops"), f"kill_{number}", NOON + number)
    kills.release("kill_0", reason="mended", actor="user:ops", now_ns=NOON + HOUR)
    released = Stop("kill_0", "llm", "acme", NOON, NOON + HOUR, 1)
    in_force = Stop("kill_1", "llm", "acme/support", NOON + 1, None, 2)
    assert lately(kills, NOON + DAY) == [released, in_force]
    assert lately(kills, NOON + 8 * DAY) == [in_force]
