"""Each kind of target is told in the form its real receiver takes, and its failures are told in words."""

import contextlib
import email
import email.policy
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from collector.notifications.config import Apprise, Email, Slack, Target, Webhook
from collector.notifications.courier import Courier, Outcome
from collector.notifications.messages import WebhookBody, slack_message
from collector.state.notices import Notice
from schemas.quantities import Secret
from tests.collector.notifications.receivers import SECRET, HttpReceiver, MailReceiver, SlackReceiver, WebhookReceiver

OPENED = Callable[..., Any]
Deliver = Callable[..., Outcome]
NOTICE = Notice(
    kind="budget.warning",
    key="acme|daily|2026-11-24T00:00:00Z|usd|90|50000000000",
    scope="acme",
    severity="warning",
    title="The daily budget of acme has reached 90 %",
    text="45.00 USD are settled & <!channel> nobody is shouted at.",
    data={"limit": "50.000000000", "threshold": 90},
    time=1_795_520_700 * 10**9,
)


@pytest.fixture
def deliver() -> Iterator[Deliver]:
    """`deliver(target)` makes one attempt through a real courier."""
    couriers: dict[Target, Courier] = {}

    def send(target: Target, notice: Notice = NOTICE, *, timeout_s: float = 10) -> Outcome:
        return couriers.setdefault(target, Courier(target, timeout_s=timeout_s)).send(notice)

    yield send
    for courier in couriers.values():
        courier.rest()


def slack(url: str, *, allow_private: bool = True) -> Slack:
    return Slack(name="ops", url=Secret(url), allow_private=allow_private)


def mail(port: int, **more: object) -> Email:
    wanted: dict[str, Any] = {"security": "none", "allow_private": True} | more
    return Email(name="mail", host="127.0.0.1", port=port, sender="spanward@example.com", to=("a@x.org",), **wanted)


def test_a_slack_message_is_valid_and_says_everything_in_its_text_too(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(SlackReceiver())
    assert deliver(slack(receiver.url)) == Outcome()
    (body,) = receiver.bodies
    assert body["text"] == f"⚠️ {NOTICE.title}\n45.00 USD are settled &amp; &lt;!channel&gt; nobody is shouted at."
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "context"]
    assert receiver.headers[0]["idempotency-key"] == NOTICE.id


def test_a_slack_message_stays_within_slacks_limits() -> None:
    long = msgspec.structs.replace(NOTICE, title="t" * 500, text="x" * 5000)
    assert SlackReceiver.check(None, {"content-type": "application/json"}, slack_message(long)) == ""  # type: ignore[arg-type]


def test_a_webhook_is_verified_by_the_standard_webhooks_library(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(WebhookReceiver([500]))
    target = Webhook(name="hook", url=Secret(receiver.url), secret=Secret(SECRET), allow_private=True)
    assert deliver(target).error.startswith("It answered 500")
    assert [deliver(target), deliver(target)] == [Outcome(), Outcome()]
    assert receiver.refused == []
    assert {headers["webhook-id"] for headers in receiver.headers} == {NOTICE.id}, "a repetition has the same id"
    body = msgspec.convert(receiver.bodies[0], WebhookBody)
    assert (body.type, body.timestamp, body.data.facts["threshold"]) == ("budget.warning", "2026-11-24T11:45:00Z", 90)


def test_a_webhook_signed_with_another_secret_is_refused_by_its_receiver(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(WebhookReceiver())
    other = Secret(SECRET[:-4] + "AAA=")
    assert "400" in deliver(Webhook(name="h", url=Secret(receiver.url), secret=other, allow_private=True)).error
    assert receiver.refused == ["No matching signature found"]


def test_an_e_mail_arrives_whole_and_a_repetition_has_the_same_message_id(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(MailReceiver())
    target = mail(receiver.port)
    assert [deliver(target), deliver(target)] == [Outcome(), Outcome()]
    first, second = [email.message_from_bytes(m.content, policy=email.policy.default) for m in receiver.mails]
    assert receiver.mails[0].rcpt_tos == ["a@x.org"]
    assert first["Subject"] == f"[warning] {NOTICE.title}"
    assert first["Message-ID"] == second["Message-ID"] == f"<{NOTICE.id}@example.com>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert NOTICE.text in first.get_content()
    assert "limit: 50.000000000" in first.get_content()


def test_a_title_cannot_add_a_header_to_an_e_mail(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(MailReceiver())
    title = "stopped\r\nBcc: everybody@x.org"
    assert deliver(mail(receiver.port), msgspec.structs.replace(NOTICE, title=title)) == Outcome()
    (got,) = receiver.mails
    assert "bcc" not in email.message_from_bytes(got.content, policy=email.policy.default)


def test_a_mail_server_without_encryption_gets_nothing_where_it_is_wanted(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(MailReceiver())
    assert "STARTTLS" in deliver(mail(receiver.port, security="starttls")).error
    assert deliver(mail(receiver.port, security="tls")).error
    assert receiver.mails == []


def test_any_apprise_url_is_told(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(HttpReceiver())
    url = Secret(f"json://127.0.0.1:{receiver.port}/hook")
    assert deliver(Apprise(name="any", url=url, allow_private=True)) == Outcome()
    (body,) = receiver.bodies
    assert (body["title"], body["type"]) == (NOTICE.title, "warning")
    assert body["message"].startswith(NOTICE.text)
    assert NOTICE.id in body["message"]


def test_what_apprise_cannot_deliver_is_told_in_its_words(opened: OPENED, deliver: Deliver) -> None:
    receiver = opened(HttpReceiver([503] * 9))
    url = f"json://127.0.0.1:{receiver.port}/hook"
    assert "503" in deliver(Apprise(name="any", url=Secret(url), allow_private=True)).error
    for odd in ("nothing://host", f"{url}, {url}"):
        outcome = deliver(Apprise(name="any", url=Secret(odd), allow_private=True))
        assert outcome.error == "Apprise does not understand the target's url as one service."


def test_a_target_may_say_when_it_wants_to_be_tried_again(opened: OPENED, deliver: Deliver) -> None:
    assert deliver(slack(opened(SlackReceiver([429])).url)) == Outcome("It answered 429: ok", retry_after_s=7)


def test_a_redirect_is_not_followed(opened: OPENED, deliver: Deliver) -> None:
    elsewhere = opened(SlackReceiver())
    receiver = opened(SlackReceiver([307]))
    receiver.moved_to = elsewhere.url
    assert deliver(slack(receiver.url)).error == "It answered 307: ok"
    assert elsewhere.asked == 0


def test_an_answer_that_drips_for_ever_ends_with_the_timeout(deliver: Deliver) -> None:
    """Each byte comes in time, the whole never does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while True:
                connection.sendall(b"H")
                time.sleep(0.1)

    dripping = threading.Thread(target=drip)
    dripping.start()
    outcome = deliver(slack(f"http://127.0.0.1:{listener.getsockname()[1]}/"), timeout_s=2)
    dripping.join()
    listener.close()
    assert outcome.error == "It took longer than extensions.notifications.timeout (2 s)."


def test_nothing_that_is_said_of_a_failure_reveals_a_secret(deliver: Deliver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    targets = [
        slack(f"http://127.0.0.1:{port}/services/s3cret"),
        Apprise(name="any", url=Secret(f"json://user:s3cret@127.0.0.1:{port}/s3cret"), allow_private=True),
        mail(port, security="starttls", username="user", password=Secret("s3cret")),
    ]
    for target in targets:
        error = deliver(target).error
        assert error
        assert "s3cret" not in error
        assert "s3cret" not in repr(target)


def test_a_courier_ends_with_its_parent(opened: OPENED) -> None:
    """Its end of the pipe is all it needs to know."""
    receiver = opened(SlackReceiver())
    job = {"target": {"name": "x", "type": "slack", "url": receiver.url, "allow_private": True}, "timeout_s": 10}
    lines = msgspec.json.encode(job) + b"\n" + msgspec.json.encode(NOTICE) + b"\n"
    done = subprocess.run(
        [sys.executable, "-m", "collector.notifications"], input=lines, capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == {"error": "", "retry_after_s": 0}
