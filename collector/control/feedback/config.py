"""Settings of the feedback stream (`extensions.control.feedback`)."""

import msgspec

from schemas.quantities import Duration


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many clients listen, how far they may fall behind, and how long they are waited for."""

    max_clients: int = 5_000
    """Streams that may be open at once; one more is refused with 503. Each takes a file descriptor."""

    max_queue: int = 64
    """Events that may wait for one client; a client that falls further behind is dropped with `end`
    `slow_consumer`, connects again and is told everything."""

    send_timeout: Duration = Duration("5s")
    """How long one write may wait for a client that does not read; then its connection is cut."""

    keepalive: Duration = Duration("15s")
    """How often a silent stream says that it is alive."""

    budget_interval: Duration = Duration("1s")
    """The shortest time between two `budgets` events, and between two looks at what else changed."""

    ack_wait: Duration = Duration("5s")
    """How long acknowledgements of a kill, a release or a drill are waited for before the ledger is told who
    is missing."""
