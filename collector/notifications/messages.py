"""A notice → what each kind of target reads: Slack's JSON, a webhook's body, an e-mail."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import msgspec

from collector.state.notices import Facts, Notice, Severity

# Limits of Slack's Block Kit, in characters.
_HEADER_CHARS, _SECTION_CHARS = 150, 3000
_MARKS = {"info": "ℹ️", "warning": "⚠️", "critical": "🛑"}


class WebhookData(msgspec.Struct, frozen=True):
    """What a webhook is told of: the notice, and its facts."""

    key: str
    scope: str
    severity: Severity
    title: str
    text: str
    facts: Facts


class WebhookBody(msgspec.Struct, frozen=True):
    """Body of a webhook, in the form of Standard Webhooks: `type` is the notice's kind, `timestamp` RFC 3339 UTC.

    The header `webhook-id` is the idempotency key; a repeated delivery has the same one.
    """

    type: str
    timestamp: str
    data: WebhookData


def slack_message(notice: Notice) -> bytes:
    """Body for a Slack incoming webhook: `blocks` for Slack, the same in `text` for those that read only that."""
    mark = _MARKS[notice.severity]
    message = {
        "text": _escaped(f"{mark} {notice.title}\n{notice.text}"),
        "blocks": [
            {"type": "header", "text": _plain(f"{mark} {notice.title}", _HEADER_CHARS)},
            {"type": "section", "text": _plain(notice.text, _SECTION_CHARS)},
            {"type": "context", "elements": [_plain(f"{notice.kind} · {notice.scope} · {notice.id}", _SECTION_CHARS)]},
        ],
    }
    return msgspec.json.encode(message)


def webhook_body(notice: Notice) -> bytes:
    """Body for a webhook, in the form Standard Webhooks recommends."""
    data = WebhookData(notice.key, notice.scope, notice.severity, notice.title, notice.text, notice.data)
    return msgspec.json.encode(WebhookBody(notice.kind, _moment(notice).isoformat().replace("+00:00", "Z"), data))


def email_message(notice: Notice, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The e-mail. `Message-ID` is the idempotency key: a copy sent twice has the same one."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(f"[{notice.severity}] {notice.title}".split())
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(_moment(notice))
    mail["Message-ID"] = f"<{notice.id}@{sender.rpartition('@')[2].rstrip('>')}>"
    # RFC 3834: no out-of-office answers to this.
    mail["Auto-Submitted"] = "auto-generated"
    facts = "\n".join(f"{name}: {value}" for name, value in notice.data.items())
    mail.set_content(f"{notice.text}\n\n{facts}\n\n{notice.kind} · {notice.scope} · {notice.id}\n")
    return mail


def _moment(notice: Notice) -> datetime:
    return datetime.fromtimestamp(notice.time // 10**9, UTC)


def _plain(text: str, most: int) -> dict[str, object]:
    """Text in which nothing is a link, a mention or a format."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return {"type": "plain_text", "text": cut, "emoji": True}


def _escaped(text: str) -> str:
    """The three characters that Slack gives a meaning."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
