"""`spanward kill` and `spanward drill` as the person on call types them, with a collector that runs and without."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.collector.control.listening import Listener
from tests.harness import SPANWARD, Served

STOP = ("--scope", "all", "--reason", "a loop")
QUICK = {"extensions.control.feedback.ack_wait": "500ms"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("kill") / "data", settings=QUICK)
    yield served.start()
    served.close()


@pytest.fixture(autouse=True)
def nothing_killed(served: Served) -> Iterator[None]:
    """Each test leaves nothing in force."""
    yield
    for status in listed(served)["kills"]:
        done(served, "kill", "release", status["kill"]["id"], "--reason", "the test is over")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SPANWARD), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )


def done(served: Served, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    answer = run(*arguments, "--data", str(served.data))
    assert answer.returncode == code, answer.stdout + answer.stderr
    return answer


def listed(served: Served) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(done(served, "kill", "list", "--json").stdout)
    return answer


def verdict(served: Served) -> str:
    body = {"model": "gpt-4o", "provider": "openai", "input_tokens": 1, "max_output_tokens": 1}
    headers = {"x-api-key": served.agent_key}
    return str(httpx.post(served.url("control", "/v1/decisions"), json=body, headers=headers).json()["verdict"])


def test_kill_says_what_it_did_how_far_it_came_and_how_it_ends(served: Served) -> None:
    stream = Listener(served.endpoints["control"], served.agent_key, client="deaf")
    answer = done(served, "kill", *STOP, "--target", "default")
    (head, row) = answer.stdout.splitlines()
    assert head.split() == ["ID", "SCOPE", "TARGET", "EPOCH", "SINCE", "BY", "REASON"]
    kill_id = row.split()[0]
    assert f"spanward kill release {kill_id}" in answer.stderr
    assert "0 of 1 connected clients acknowledged" in answer.stderr
    assert "no acknowledgement: deaf of default/default/default" in answer.stderr
    assert "user:" in row
    assert verdict(served) == "deny"
    stream.close()


def test_json_has_the_kill_and_its_acknowledgements(served: Served) -> None:
    answer = json.loads(done(served, "kill", *STOP, "--target", "platform", "--json").stdout)
    assert answer["kill"].keys() == {"id", "scope", "target", "reason", "actor", "since", "epoch"}
    assert (answer["acks"]["connected"], answer["acks"]["finished"]) == (0, True)
    assert json.loads(done(served, "kill", *STOP, "--target", "platform", "--no-wait", "--json").stdout)["acks"] is None


def test_options_may_stand_before_and_behind_the_subcommand(served: Served) -> None:
    done(served, "kill", *STOP, "--target", "default", "--no-wait")
    before = run("kill", "--data", str(served.data), "list", "--json")
    assert json.loads(before.stdout) == listed(served)
    kill_id = listed(served)["kills"][0]["kill"]["id"]
    answer = run("kill", "--data", str(served.data), "release", kill_id, "--reason", "mended")
    assert (answer.returncode, answer.stdout.strip()) == (0, kill_id), answer.stderr
    assert verdict(served) == "allow"


WRONG: Mapping[str, tuple[tuple[str, ...], int, str]] = {
    "no scope": (("kill", "--target", "default", "--reason", "r"), 2, "--scope"),
    "no target": (("kill", "--scope", "all", "--reason", "r"), 2, "--target"),
    "no reason": (("kill", "--scope", "all", "--target", "default"), 2, "--reason"),
    "a release without a reason": (("kill", "release", "kill_1"), 2, "--reason"),
    "a scope nobody knows": (("kill", "--scope", "some", "--target", "default", "--reason", "r"), 2, "'some'"),
    "nobody of that name": (("kill", *STOP, "--target", "defualt"), 1, "matches nothing"),
    "no such kill": (("kill", "release", "kill_1", "--reason", "r"), 1, "There is no kill"),
    "no way back": (("kill", *STOP, "--target", "../x"), 1, "not a valid id"),
}


@pytest.mark.parametrize(("arguments", "code", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_order_is_one_message_and_an_exit_code(
    served: Served, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    answer = done(served, *arguments, code=code)
    assert complaint in answer.stderr
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr


def test_a_drill_lists_every_client_and_its_exit_code_tells_of_the_missing(served: Served) -> None:
    answer = done(served, "drill", "--reason", "friday")
    assert "No client listens" in answer.stderr
    stream = Listener(served.endpoints["control"], served.agent_key, client="deaf")
    answer = done(served, "drill", code=3)
    assert answer.stdout.splitlines()[1].split()[:2] == ["deaf", "default/default/default"]
    assert "no acknowledgement: deaf" in answer.stderr
    assert verdict(served) == "allow"
    stream.close()


def test_a_collector_elsewhere_is_reached_with_an_admin_token(served: Served) -> None:
    where = ("--endpoint", served.endpoints["control"])
    answer = run("kill", *STOP, "--target", "default", *where, "--json", SPANWARD_ADMIN_TOKEN=served.admin_token)
    assert answer.returncode == 0, answer.stderr
    assert verdict(served) == "deny"
    assert "SPANWARD_ADMIN_TOKEN is not set" in run("kill", "list", *where, SPANWARD_ADMIN_TOKEN="").stderr
    refused = run("kill", "list", *where, SPANWARD_ADMIN_TOKEN=served.agent_key)
    assert (refused.returncode, "An agent may not" in refused.stderr) == (1, True)
    for wrong in ((), (*where, "--data", str(served.data))):
        assert run("kill", "list", *wrong).returncode == 2


def test_a_stopped_collector_is_killed_before_it_starts(tmp_path: Path) -> None:
    served = Served(tmp_path / "data").start()
    served.stop()
    try:
        kill_id = json.loads(done(served, "kill", *STOP, "--target", "default", "--json").stdout)["kill"]["id"]
        assert [each["kill"]["id"] for each in listed(served)["kills"]] == [kill_id]
        served.restart()
        assert verdict(served) == "deny"
        served.stop()
        done(served, "kill", "release", kill_id, "--reason", "mended")
        served.restart()
        assert verdict(served) == "allow"
        served.seal()
        acts = [row["action"] for row in served.report("activity")["rows"] if row["kind"] == "kill"]
        assert acts.count("kill") == acts.count("kill.release") == 1
    finally:
        served.close()


def test_what_is_no_data_directory_is_left_alone(tmp_path: Path) -> None:
    answer = run("kill", *STOP, "--target", "default", "--data", str(tmp_path / "typo"))
    assert (answer.returncode, "is not a data directory" in answer.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
