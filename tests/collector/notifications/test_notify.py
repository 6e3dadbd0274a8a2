"""`spanward notify` against a collector that runs: each target's outcome, and what has not arrived."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.collector.control.owned import OwnerThread
from tests.collector.notifications.receivers import SECRET, SlackReceiver, WebhookReceiver
from tests.harness import SPANWARD, Served

OPENED = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path, opened: OPENED, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two targets that hear, one that does not."""
    slack, hook, deaf = opened(SlackReceiver()), opened(WebhookReceiver()), opened(SlackReceiver([500] * 99))
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)
    path = tmp_path / "spanward.yaml"
    path.write_text(f"""
extensions:
  notifications:
    targets:
      - {{name: chat, type: slack, url: "{slack.url}", allow_private: true}}
      - {{name: hook, type: webhook, url: "{hook.url}", secret: "${{env:TEST_HOOK_SECRET}}", allow_private: true}}
      - {{name: deaf, type: slack, url: "{deaf.url}", allow_private: true}}
""")
    return path


def notify(data: Path, *arguments: str) -> tuple[int, str, str]:
    command = [str(SPANWARD), "notify", *arguments, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_test_notice_goes_to_the_targets_of_the_running_collector(tmp_path: Path, config: Path) -> None:
    served = Served(tmp_path / "data", config=config).start()
    try:
        assert notify(served.data, "test", "--target", "chat")[:2] == (0, "chat: delivered\n")
        code, out, _ = notify(served.data, "test")
        assert (code, out) == (1, "chat: delivered\nhook: delivered\ndeaf: It answered 500: ok\n")
        code, out, _ = notify(served.data, "test", "--json")
        outcomes = json.loads(out)["outcomes"]
        assert (code, outcomes[1]) == (1, {"target": "hook", "delivered": True, "error": ""})
        code, _, said = notify(served.data, "test", "--target", "chta")
        assert code == 1
        assert "There is no target 'chta'" in said
        assert notify(served.data, "list")[:2] == (0, "TIME  STATE  TARGET  ATTEMPTS  TITLE  ERROR\n")
        assert json.loads(notify(served.data, "list", "--json")[1]) == {"deliveries": []}
        served.stop()
        code, _, said = notify(served.data, "test")
        assert (code, said) == (1, f"Error: No collector runs on {served.data}. Start it: spanward serve --data DIR.\n")
    finally:
        served.close()


def test_agents_neither_send_test_notices_nor_see_what_waits(start: Callable[..., OwnerThread]) -> None:
    owner = start()
    assert owner.post("/v1/admin/notices/test", {}).status_code == 403
    assert owner.get("/v1/admin/notices").status_code == 403
    assert owner.post("/v1/admin/notices/test", {}, key=owner.admin).json() == {"outcomes": []}
    assert owner.post("/v1/admin/notices/test", {"targe": ""}, key=owner.admin).status_code == 400
