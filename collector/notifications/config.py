"""Settings of notifications (`extensions.notifications`): whom to tell, and how stubbornly."""

import base64
import binascii
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from collector.state.notices import SEVERITIES, Notice, Severity
from schemas.quantities import Duration, Secret

# The Standard Webhooks specification asks for keys of 24 to 64 bytes.
_KEY_BYTES = range(24, 65)


class _Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What every target says: its name, which notices it wants, and which addresses it may have.

    `scopes` and `kinds` are patterns with `*`, of which one must fit. `__post_init__` raises `ValueError`, as
    msgspec wants it: the reader adds file, line and key.
    """

    name: str
    scopes: tuple[str, ...] = ("*",)
    kinds: tuple[str, ...] = ("*",)
    min_severity: Severity = "info"
    allow_private: bool = False

    def wants(self, notice: Notice) -> bool:
        """Say whether this target is to be told."""
        return (
            any(fnmatchcase(notice.scope, pattern) for pattern in self.scopes)
            and any(fnmatchcase(notice.kind, pattern) for pattern in self.kinds)
            and SEVERITIES.index(notice.severity) >= SEVERITIES.index(self.min_severity)
        )


class Slack(_Target, frozen=True, tag="slack"):
    """An incoming webhook of Slack, or of anything that reads the same JSON."""

    url: Secret

    def __post_init__(self) -> None:
        """Refuse what no request can be sent to."""
        _check_url(self.url, allow_private=self.allow_private)


class Webhook(_Target, frozen=True, tag="webhook"):
    """Any endpoint, signed per Standard Webhooks. `secret` is `whsec_` and 24 to 64 bytes in base64."""

    url: Secret
    secret: Secret

    def __post_init__(self) -> None:
        """Refuse what no request can be sent to, and keys that sign nothing."""
        _check_url(self.url, allow_private=self.allow_private)
        _check_key(self.secret)


class Email(_Target, frozen=True, tag="email"):
    """A mail server. Without `username` nobody signs in."""

    host: str
    sender: str = msgspec.field(name="from")
    to: tuple[str, ...]
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: Secret = Secret("")

    def __post_init__(self) -> None:
        """Refuse addresses that are none, and a password that everybody could read on its way."""
        for address in (self.sender, *self.to):
            if "@" not in address or not address.isprintable():
                raise ValueError(f"{address!r} is not an e-mail address. Write for example ops@example.com.")
        if not self.to:
            raise ValueError("`to` is empty. Write at least one e-mail address.")
        if self.security == "none" and self.username:
            raise ValueError("A password is not sent without encryption. Use security: starttls or tls.")


class Apprise(_Target, frozen=True, tag="apprise"):
    """Any URL that Apprise understands: PagerDuty, Microsoft Teams, ntfy and over a hundred more."""

    url: Secret

    def __post_init__(self) -> None:
        """Refuse what has no scheme; Apprise itself judges the rest at the first delivery."""
        if "://" not in self.url.reveal():
            raise ValueError("This is not an Apprise URL. Write SCHEME://…, as Apprise's documentation says.")


Target = Slack | Webhook | Email | Apprise


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is told of budgets, kills and findings, and how often that is tried."""

    targets: tuple[Target, ...] = ()
    """A list of {name, type, url, …}; the types `slack`, `webhook`, `email` and `apprise` and their keys are
    in docs/notifications.md."""

    timeout: Duration = Duration("10s")
    """Longest one attempt may take; then its sender is ended and the attempt counts as failed."""

    initial_interval: Duration = Duration("5s")
    """Wait after the first failed attempt. It doubles with each further one; between half and all of it is
    waited."""

    max_interval: Duration = Duration("10m")
    """Longest wait between two attempts, also where a target asks for more with `Retry-After`."""

    max_elapsed_time: Duration = Duration("24h")
    """How long one notice is tried. After that it is given up, which the log says and a ledger entry."""

    max_backlog: int = 10_000
    """Notices that may wait for one target. Beyond it new ones are given up for this target at once."""

    def __post_init__(self) -> None:
        """Refuse two targets of one name: deliveries are recorded by it."""
        names = [target.name for target in self.targets]
        for name in names:
            if not name or not name.isprintable():
                raise ValueError(f"{name!r} is not a name of a target.")
            if names.count(name) > 1:
                raise ValueError(f"Two targets are called {name!r}. Give each a name of its own.")


def _check_url(url: Secret, *, allow_private: bool) -> None:
    parts = urlsplit(url.reveal())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("This is not a URL. Write https://HOST/…")
    if parts.scheme == "http" and not allow_private:
        raise ValueError("Without TLS everybody on the way can read it. Use https, or allow_private for a host nearby.")


def _check_key(secret: Secret) -> None:
    try:
        key = base64.b64decode(secret.reveal().removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not secret.reveal().startswith("whsec_") or len(key) not in _KEY_BYTES:
        raise ValueError(
            "This is not a secret of Standard Webhooks. Write whsec_ and 24 to 64 random bytes in base64, "
            'for example from: echo "whsec_$(openssl rand -base64 32)"'
        )
