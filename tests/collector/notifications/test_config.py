"""Targets as an operator writes them: what they mean, what is refused and where, and that no secret is printed."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from collector.config import dump, load
from collector.notifications.config import Apprise, Email, Slack, Webhook
from collector.notifications.messages import WebhookBody
from schemas.errors import ConfigError
from schemas.quantities import read_quantity, write_quantity
from tests.house.source import ROOT

TARGETS = """
extensions:
  notifications:
    timeout: 3s
    targets:
      - {name: ops, type: slack, url: "${env:SLACK_URL}", scopes: [acme*], min_severity: warning}
      - {name: audit, type: webhook, url: https://audit.example.com/in, secret: "${env:HOOK_SECRET}"}
      - {name: mail, type: email, host: smtp.example.com, from: a@example.com, to: [b@example.com],
         username: a, password: "${env:SLACK_URL}"}
      - {name: pager, type: apprise, url: "pagerduty://${env:SLACK_URL}", kinds: ["*.block", "kill.*"]}
"""
SLACK_URL = "https://hooks.slack.com/services/T0/B0/s3cret"
HOOK_SECRET = "whsec_" + "c2VjcmV0" * 5


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(os.environ, "SLACK_URL", SLACK_URL)
    monkeypatch.setitem(os.environ, "HOOK_SECRET", HOOK_SECRET)
    path = tmp_path / "spanward.yaml"
    path.write_text(TARGETS)
    return path


def test_targets_are_read_with_their_secrets_and_printed_without(written: Path) -> None:
    config = load(written)
    slack, webhook, mail, pager = config.extensions.notifications.targets
    assert isinstance(slack, Slack)
    assert isinstance(webhook, Webhook)
    assert isinstance(mail, Email)
    assert isinstance(pager, Apprise)
    assert (slack.url.reveal(), webhook.secret.reveal()) == (SLACK_URL, HOOK_SECRET)
    assert (slack.scopes, slack.min_severity, mail.port, mail.security) == (("acme*",), "warning", 587, "starttls")
    printed = dump(config)
    assert "s3cret" not in printed + repr(config)
    assert HOOK_SECRET not in printed + repr(config)
    assert printed.count("'****'") == 5


def test_the_process_that_uses_them_gets_the_secrets(written: Path) -> None:
    config = load(written).extensions.notifications
    told = msgspec.json.encode(config, enc_hook=write_quantity)
    assert (
        msgspec.json.encode(
            msgspec.json.decode(told, type=type(config), dec_hook=read_quantity), enc_hook=write_quantity
        )
        == told
    )
    assert SLACK_URL.encode() in told


SLACK = "name: a, type: slack"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        pytest.param(f"{SLACK}, url: hooks.slack.com/x", "not a URL", id="no URL"),
        pytest.param(f"{SLACK}, url: 'ftp://h/x'", "not a URL", id="not http"),
        pytest.param(f"{SLACK}, url: 'http://h/x'", "Without TLS", id="plain text over the internet"),
        pytest.param("name: a, type: webhook, url: 'https://h/x', secret: abc", "whsec_", id="no key"),
        pytest.param("name: a, type: webhook, url: 'https://h/x', secret: whsec_c2hvcnQ=", "24 to 64", id="short key"),
        pytest.param("name: a, type: email, host: h, from: me, to: [b@x]", "not an e-mail address", id="sender"),
        pytest.param("name: a, type: email, host: h, from: a@x, to: []", "`to` is empty", id="nobody"),
        pytest.param(
            "name: a, type: email, host: h, from: a@x, to: [b@x], security: none, username: u",
            "not sent without encryption",
            id="password in clear",
        ),
        pytest.param("name: a, type: apprise, url: nothing", "not an Apprise URL", id="no scheme"),
        pytest.param("name: a, type: pigeon", "type", id="unknown type"),
        pytest.param(f"{SLACK}, url: 'https://h/x', scope: [acme]", "unknown field `scope`", id="typo"),
        pytest.param(f"{SLACK}, url: 'https://h/x', min_severity: high", "min_severity", id="severity"),
        pytest.param(f"{SLACK}, url: 'https://h/x'}}, {{{SLACK}, url: 'https://h/y'", "Two targets", id="one name"),
        pytest.param("name: '', type: slack, url: 'https://h/x'", "not a name", id="no name"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, target: str, says: str) -> None:
    path = tmp_path / "spanward.yaml"
    path.write_text(f"extensions:\n  notifications:\n    targets: [{{{target}}}]\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert "spanward.yaml:" in caught.value.what
    assert "extensions.notifications" in caught.value.what
    assert says in caught.value.what


def fields(kinds: Sequence[type[msgspec.Struct]]) -> set[str]:
    return {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}


def test_every_key_of_every_target_is_explained() -> None:
    page = (ROOT / "docs/notifications.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert fields((Slack, Webhook, Email, Apprise)) <= rows


def test_the_documented_body_of_a_webhook_is_one() -> None:
    page = (ROOT / "docs/notifications.md").read_text(encoding="utf-8")
    example = page.partition("```json")[2].partition("```")[0]
    body = msgspec.json.decode(example, type=WebhookBody)
    assert msgspec.to_builtins(body) == msgspec.json.decode(example)
