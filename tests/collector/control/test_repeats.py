"""An idempotency key is remembered as long as promised, and never longer than memory allows."""

import pytest

from collector.control.repeats import KeyReused, Repeats, digest
from collector.state.rows import KeptDecision
from schemas.control import DecisionRequest

MINUTE = 60 * 10**9
FIRST = DecisionRequest(model="gpt-4o", idempotency_key="one", labels={"a": "1", "b": "2"})


def kept(request: DecisionRequest, at: int, answer: bytes = b"answer") -> KeptDecision:
    return KeptDecision("key", request.idempotency_key, digest(request), answer, at)


def test_the_same_question_gets_the_same_answer_until_its_time_is_over() -> None:
    repeats = Repeats([], keep_ns=MINUTE, most=10)
    assert repeats.find("key", FIRST, 0) is None
    repeats.keep(kept(FIRST, 0))
    assert repeats.find("key", FIRST, MINUTE) == b"answer"
    assert repeats.find("other", FIRST, MINUTE) is None
    assert repeats.find("key", FIRST, MINUTE + 1) is None


def test_order_of_labels_and_written_out_defaults_do_not_make_another_question() -> None:
    same = DecisionRequest(model="gpt-4o", idempotency_key="one", labels={"b": "2", "a": "1"}, input_tokens=0)
    assert digest(same) == digest(FIRST)


@pytest.mark.parametrize(
    "changed",
    [
        DecisionRequest(model="gpt-4o", idempotency_key="one", labels={"a": "1"}),
        DecisionRequest(model="o3", idempotency_key="one", labels={"a": "1", "b": "2"}),
        DecisionRequest(model="gpt-4o", idempotency_key="one", labels={"a": "1", "b": "2"}, max_output_tokens=1),
    ],
)
def test_another_question_under_the_same_key_is_a_conflict(changed: DecisionRequest) -> None:
    repeats = Repeats([kept(FIRST, 0)], keep_ns=MINUTE, most=10)
    with pytest.raises(KeyReused, match="'one' was used for another request"):
        repeats.find("key", changed, 0)


def test_the_oldest_are_forgotten_by_number_and_by_age() -> None:
    questions = [DecisionRequest(idempotency_key=str(number)) for number in range(5)]
    repeats = Repeats([kept(question, number) for number, question in enumerate(questions[:3])], keep_ns=MINUTE, most=3)
    repeats.keep(kept(questions[3], 3))
    assert [repeats.find("key", question, 3) is not None for question in questions] == [False, True, True, True, False]
    repeats.keep(kept(questions[4], MINUTE + 3))
    assert len(repeats._answers) == 2


def test_a_key_whose_time_is_over_may_be_used_again() -> None:
    repeats = Repeats([kept(FIRST, 0)], keep_ns=MINUTE, most=10)
    other = DecisionRequest(model="o3", idempotency_key="one")
    assert repeats.find("key", other, 2 * MINUTE) is None
    repeats.keep(kept(other, 2 * MINUTE, b"new"))
    assert repeats.find("key", other, 2 * MINUTE) == b"new"
