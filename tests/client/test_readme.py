"""The examples of the README run as they stand, against real HTTP servers."""

import re
from pathlib import Path

import pytest
import spanward_client

from collector.demo.provider import serving
from tests.client.answers import ALLOW, BUDGET, DENY, SETTLED
from tests.client.stub import Stub

README = Path(__file__).parents[2] / "collector" / "client" / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.usefixtures("environment")


def run(example: str) -> None:
    exec(compile(example, README.name, "exec"), {"__name__": "__main__"})


@pytest.fixture(autouse=True)
def _provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def test_the_first_example_gates_an_unchanged_call(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.answer(ALLOW)
    with serving() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        run(EXAMPLES[0])
    assert capsys.readouterr().out == "Three findings, two risks and one next step.\n"
    assert stub.asked[0].path == "/v1/decisions"
    assert spanward_client.flush()


def test_the_first_example_says_why_a_call_was_refused(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answer(DENY)
    run(EXAMPLES[0])
    assert capsys.readouterr().out.startswith(f"Not asked: The daily budget of {BUDGET['scope']}")


def test_the_second_example_asks_for_a_tool(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answer(ALLOW)
    run(EXAMPLES[1])
    assert capsys.readouterr().out == "found sky\n"
    assert stub.asked[0].body["tool"] == "search"


def test_the_third_example_calls_inside_a_hold(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.answer(ALLOW)
    with serving() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        run(EXAMPLES[2])
    assert capsys.readouterr().out == "Three findings, two risks and one next step.\n"
    assert [asked.path for asked in stub.asked] == ["/v1/decisions"]


def test_the_third_example_says_when_there_is_no_room(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answer(DENY)
    run(EXAMPLES[2])
    assert f"0.199999999 USD left in {BUDGET['scope']}, until 00:00 UTC." in capsys.readouterr().out


def test_the_fourth_example_settles_with_the_tokens_of_the_answer(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.answer(ALLOW).answer(SETTLED)
    with serving() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        run(EXAMPLES[3])
    assert stub.asked[1].path == "/v1/holds/hold-1/settle"
    assert stub.asked[1].body == {"input_tokens": 9, "output_tokens": 180}


def test_the_fifth_example_puts_the_decision_on_the_span(stub: Stub) -> None:
    stub.answer(ALLOW)
    run(EXAMPLES[4])


def test_there_is_no_example_without_its_test() -> None:
    assert len(EXAMPLES) == 5


def test_every_promise_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", README.read_text()))
    defined = {
        name
        for file in Path(__file__).parent.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named <= defined
