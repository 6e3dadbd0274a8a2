"""A target and a notice → one attempt to deliver it, and what became of that.

Apprise sends to its own URLs. Slack's format, webhooks and e-mail are sent here: Apprise knows Slack
at Slack's host only, signs nothing, and gives each e-mail a new `Message-ID`, so that a second copy
could not be told from a second notice.
"""

import logging
import smtplib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

import apprise
import httpx
import standardwebhooks

from collector.notifications.config import Apprise, Email, Slack, Target, Webhook
from collector.notifications.courier import Outcome
from collector.notifications.messages import email_message, slack_message, webhook_body
from collector.state.notices import Notice

_LOG = logging.getLogger("spanward.notifications")
_APPRISE_TYPES = {"info": "info", "warning": "warning", "critical": "failure"}
_SHOWN_CHARS = 200
# `Retry-After` may also be a date, which nobody uses here; a wait longer than a day is not a wait.
_RETRY_AFTER_S = 86400


Send = Callable[[Notice], Outcome]


def sender(target: Target, *, timeout_s: float) -> Send:
    """How this target is told."""
    match target:
        case Slack():
            return _slack(target, _client(timeout_s))
        case Webhook():
            return _webhook(target, _client(timeout_s))
        case Email():
            return lambda notice: _send_email(target, notice, timeout_s)
        case Apprise():
            return _apprise(target)


def _slack(target: Slack, client: httpx.Client) -> Send:
    def send(notice: Notice) -> Outcome:
        return _post(client, target.url.reveal(), slack_message(notice), {"idempotency-key": notice.id})

    return send


def _webhook(target: Webhook, client: httpx.Client) -> Send:
    signer = standardwebhooks.Webhook(target.secret.reveal())

    def send(notice: Notice) -> Outcome:
        body, now = webhook_body(notice), datetime.now(UTC)
        headers = {
            "webhook-id": notice.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signer.sign(notice.id, now, body.decode()),
        }
        return _post(client, target.url.reveal(), body, headers)

    return send


def _client(timeout_s: float) -> httpx.Client:
    """No proxy, no redirect: the host that is written is the host that is told.

    `SSL_CERT_FILE` may name the authority that its certificate is from.
    """
    context = httpx.create_ssl_context()
    return httpx.Client(verify=context, trust_env=False, follow_redirects=False, timeout=timeout_s)


def _post(client: httpx.Client, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
    headers = {"content-type": "application/json", "user-agent": "spanward", **headers}
    try:
        # Streamed, so that an endless answer is not read.
        with client.stream("POST", url, content=body, headers=headers) as answer:
            if answer.is_success:
                return Outcome()
            told = next(answer.iter_bytes(_SHOWN_CHARS), b"").decode("utf-8", "replace")
    except httpx.HTTPError as error:
        return Outcome(f"{type(error).__name__}: {error}")
    after = answer.headers.get("retry-after", "")
    return Outcome(f"It answered {answer.status_code}: {_printable(told)}", _seconds(after))


def _send_email(target: Email, notice: Notice, timeout_s: float) -> Outcome:
    mail = email_message(notice, target.sender, target.to)
    try:
        with _connected(target, timeout_s) as smtp:
            if target.username:
                smtp.login(target.username, target.password.reveal())
            refused = smtp.send_message(mail, target.sender, target.to)
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(f"{type(error).__name__}: {_printable(str(error))}")
    # The others have it; sending again would reach them again and change nothing for these.
    for address, (code, _) in refused.items():
        _LOG.warning("Target %s: the mail server refused %s (%s).", target.name, address, code)
    return Outcome()


def _connected(target: Email, timeout_s: float) -> smtplib.SMTP:
    # smtplib itself would take any certificate.
    context = ssl.create_default_context()
    if target.security == "tls":
        return smtplib.SMTP_SSL(target.host, target.port, timeout=timeout_s, context=context)
    smtp = smtplib.SMTP(target.host, target.port, timeout=timeout_s)
    if target.security == "starttls":
        smtp.starttls(context=context)
    return smtp


def _apprise(target: Apprise) -> Send:
    # What it logs is in the result; its own handler of last resort would write it to standard error too.
    logging.getLogger("apprise").propagate = False
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Spanward", app_desc="Spanward", app_url=""))
    known = service.add(target.url.reveal()) and len(service) == 1

    def send(notice: Notice) -> Outcome:
        if not known:
            return Outcome("Apprise does not understand the target's url as one service.")
        body = f"{notice.text}\n\n{notice.kind} · {notice.scope} · {notice.id}"
        kind = _APPRISE_TYPES[notice.severity]
        result = service.notify(body=body, title=notice.title, notify_type=kind, body_format="text")
        if result:
            return Outcome()
        told = " ".join(str(entry.message) for entry in result.logs())
        return Outcome(_printable(told) or "Apprise could not deliver it.")

    return send


def _seconds(retry_after: str) -> int:
    return min(int(retry_after), _RETRY_AFTER_S) if retry_after.isdecimal() else 0


def _printable(text: str) -> str:
    """What a target said, in one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_SHOWN_CHARS]).strip()
