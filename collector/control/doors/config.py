"""Settings of the control endpoint (`extensions.control`)."""

import msgspec

from collector.control.feedback.config import Config as FeedbackConfig
from schemas.quantities import Duration, Size


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The endpoint agents ask, and what it remembers."""

    endpoint: str = "127.0.0.1:4320"
    """HOST:PORT to listen on; port 0 takes a free one."""

    grpc_endpoint: str = "127.0.0.1:4321"
    """HOST:PORT of the same questions over gRPC, and of Envoy's external authorization; port 0 takes a free one,
    empty leaves this door closed."""

    external_url: str = ""
    """The URL clients reach the endpoint by, such as `https://spanward.example.com`, for AuthZEN's discovery document.
    Empty: the host that was asked."""

    max_body: Size = Size("64KiB")
    """The largest request body; a larger one is refused with 413."""

    max_corrections_body: Size = Size("8MiB")
    """The same for `POST /v1/ledger/corrections`, by which an operator's command hands in many rows at once."""

    max_forwarded_body: Size = Size("8MiB")
    """The largest body of a model call that Traefik may forward; a larger one is refused with 413."""

    grpc_max_message: Size = Size("8MiB")
    """The largest gRPC message; a larger one is RESOURCE_EXHAUSTED. Envoy sends the bodies of model calls in it."""

    grpc_deadline: Duration = Duration("10s")
    """How long a gRPC call may take before it ends with DEADLINE_EXCEEDED; a caller may ask for less."""

    max_evaluations: int = 100
    """The most questions in one `POST /access/v1/evaluations`."""

    answer_ttl: Duration = Duration("5s")
    """`valid_until` of an answer without a hold: how long a client may act on it without asking again."""

    idempotency_window: Duration = Duration("1h")
    """How long a repeated `idempotency_key` gets the answer it got before."""

    max_idempotency_keys: int = 100_000
    """How many of them are remembered; beyond it the oldest are forgotten."""

    max_outbox_events: int = 1_000_000
    """Entries that may wait for the ledger. Beyond it decisions are refused with 503, because a
    decision that cannot be recorded is not made; corrections of cost are beyond half of it."""

    seal_timeout: Duration = Duration("60s")
    """How long `POST /v1/admin/seal` waits before it answers 503."""

    follow_interval: Duration = Duration("1s")
    """How often the governance files and the keys are looked at for changes."""

    key_recheck: Duration = Duration("100ms")
    """How long a key that was checked is taken for good without asking the key store again."""

    entry_retention: Duration = Duration("7d")
    """How long the state keeps each hold and each change of a budget, and `GET /v1/holds/ID` knows it;
    the ledger keeps both for good. Never less than `hold_ttl` and `span_grace` together."""

    feedback: FeedbackConfig = FeedbackConfig()
    """The stream that tells clients of kills, budgets and keys."""
