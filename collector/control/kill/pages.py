"""The kill switch as operators reach it: kill, list, release, drill."""

import msgspec

from collector.control.commit import Committer
from collector.control.doors.config import Config
from collector.control.doors.operators import Operators, acting
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route
from collector.control.kill.switch import Switch
from schemas.kills import Drill, Kill, KillList, KillRequest, ReasonRequest, Released

_KILL = msgspec.json.Decoder(KillRequest)
_REASON = msgspec.json.Decoder(ReasonRequest)


_KILLED = Operation("Stop what is named until it is released.", Kill, KillRequest, may_be=(404,))
_RELEASED = Operation("End a kill.", Released, ReasonRequest)
_DRILL = Operation("Ask everybody connected to acknowledge, and stop nobody.", Drill, ReasonRequest)


class KillPages:
    """The pages of whoever may stop everything."""

    def __init__(self, switch: Switch, operators: Operators, committer: Committer, config: Config) -> None:
        self._switch = switch
        self._operators = operators
        self._committer = committer
        self._config = config

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("POST", "/v1/admin/kills", self._kill, _KILLED),
            Route(
                "GET",
                "/v1/admin/kills",
                self._list,
                Operation("Every kill in force, and who acknowledged it.", KillList),
            ),
            Route("POST", "/v1/admin/kills/{id}/release", self._release, _RELEASED),
            Route("POST", "/v1/admin/drills", self._drill, _DRILL),
            Route("GET", "/v1/admin/drills/{id}", self._drilled, Operation("How far a drill has come.", Drill)),
        )

    async def _kill(self, request: Request) -> Page:
        name = self._operators.name(request)
        order = await request.json(_KILL, self._config.max_body)
        return Page(ENCODE(await self._switch.kill(order, actor=acting(name, order.actor))))

    async def _list(self, request: Request) -> Page:
        self._operators.name(request)
        kills = self._switch.listed()
        await self._committer.durable()
        return Page(ENCODE(kills))

    async def _release(self, request: Request, kill_id: str) -> Page:
        name = self._operators.name(request)
        why = await request.json(_REASON, self._config.max_body)
        released = await self._switch.release(kill_id, reason=why.reason, actor=acting(name, why.actor))
        return Page(ENCODE(released))

    async def _drill(self, request: Request) -> Page:
        name = self._operators.name(request)
        why = await request.json(_REASON, self._config.max_body)
        return Page(ENCODE(await self._switch.drill(reason=why.reason, actor=acting(name, why.actor))))

    async def _drilled(self, request: Request, drill_id: str) -> Page:
        self._operators.name(request)
        return Page(ENCODE(self._switch.drilled(drill_id)))
