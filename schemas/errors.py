"""Everything that can go wrong, sorted by what the caller must do about it.

    SpanwardError
    ├── Retryable    the same request may succeed later (overloaded, disk full, store away)
    ├── Permanent    the same request will fail again (malformed, unknown, over a limit)
    │   └── ConfigError   a file or flag of the operator's is wrong; names the place and the likely word
    ├── Unauthenticated   no credential, or one nobody knows
    ├── Forbidden    a known credential that may not do this
    └── Fatal        state is unknown: stop the process, start-up knows how to reach a good state

Invariant: nothing raw (`ValueError`, `KeyError`) leaves a parser of outside input.
Mapping to gRPC and HTTP statuses is left to `collector.receivers.status`.
"""


class SpanwardError(Exception):
    """Base of every error a user can see.

    `what` says what happened and where, `fix` says how to mend it. Both are whole sentences.
    """

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def diagnostics(self) -> str:
        """One or two sentences for a terminal, a log line or a response body."""
        return f"{self.what} {self.fix}".strip()


class Retryable(SpanwardError):
    """Try the same request again after `retry_after_s` seconds."""

    def __init__(self, what: str, *, fix: str = "", retry_after_s: int = 1, overloaded: bool = False) -> None:
        super().__init__(what, fix=fix)
        self.retry_after_s = retry_after_s
        self.overloaded = overloaded


class Permanent(SpanwardError):
    """Sending the same thing again cannot help."""


class ConfigError(Permanent):
    """The operator's configuration, policy or command line is wrong."""


class Unauthenticated(SpanwardError):
    """The request carries no credential, or one that is not known, expired or revoked."""


class Forbidden(SpanwardError):
    """The credential is known but may not do this."""


class Fatal(SpanwardError):
    """The process no longer knows the state of its files: it must stop and recover at start."""
