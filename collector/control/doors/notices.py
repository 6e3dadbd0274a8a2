"""What operators ask about notifications: try the targets, and see what has not arrived."""

import uuid
from collections.abc import Callable
from typing import Literal

import msgspec

from collector.control.doors.config import Config
from collector.control.doors.operators import Operators
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route
from collector.governance.windows import utc_text
from collector.notifications.outbox import NoticeOutbox
from collector.state.notices import Notice

# What a person reads in a terminal; the ledger has all that were given up.
_SHOWN = 200


class TestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /v1/admin/notices/test`: a target's name, or nothing for all."""

    target: str = ""


class TestOutcome(msgspec.Struct, frozen=True):
    """What became of the test notice at one target."""

    target: str
    delivered: bool
    error: str


class TestAnswer(msgspec.Struct, frozen=True):
    """Answer of `POST /v1/admin/notices/test`."""

    outcomes: list[TestOutcome]


class Unfinished(msgspec.Struct, frozen=True):
    """A notice that one target does not have."""

    notice_id: str
    key: str
    title: str
    target: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    error: str
    time: str


class UnfinishedAnswer(msgspec.Struct, frozen=True):
    """Answer of `GET /v1/admin/notices`: the newest of each state."""

    deliveries: list[Unfinished]


_TRIED = Operation("Tell the targets something now.", TestAnswer, TestRequest)
_LIST = Operation("Notices that wait or were given up.", UnfinishedAnswer)
_TEST = msgspec.json.Decoder(TestRequest)


class NoticePages:
    """Testing targets, and listing what waits or was given up."""

    def __init__(
        self, notices: NoticeOutbox, operators: Operators, config: Config, *, clock: Callable[[], int]
    ) -> None:
        self._notices = notices
        self._operators = operators
        self._config = config
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("POST", "/v1/admin/notices/test", self._test, _TRIED),
            Route("GET", "/v1/admin/notices", self._list, _LIST),
        )

    async def _test(self, request: Request) -> Page:
        actor = self._operators.name(request)
        asked = await request.json(_TEST, self._config.max_body)
        notice = Notice(
            kind="notification.test",
            key=f"test|{uuid.uuid4()}",
            scope="platform",
            severity="info",
            title="This is a test of Spanward's notifications",
            text=f"{actor} sent it. Budgets, kills and findings will be told here in the same form.",
            data={"actor": actor},
            time=self._clock(),
        )
        tested = await self._notices.test(asked.target, notice)
        return Page(ENCODE(TestAnswer([TestOutcome(each.target, not each.error, each.error) for each in tested])))

    async def _list(self, request: Request) -> Page:
        self._operators.name(request)
        found = [*self._notices.unfinished("pending", _SHOWN), *self._notices.unfinished("failed", _SHOWN)]
        rows = [
            Unfinished(
                notice.id, notice.key, notice.title, delivery.target, delivery.state, delivery.attempts,
                delivery.error, utc_text(notice.time),
            )
            for delivery, notice in found
        ]  # fmt: skip
        return Page(ENCODE(UnfinishedAnswer(rows)))
