"""An owner, or its stand-in → what every port serves."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from collector.control.doors.agents import AgentPages
from collector.control.doors.api import Api
from collector.control.doors.asking import Asker
from collector.control.doors.authzen import AuthzenPages
from collector.control.doors.budgets import BudgetPages
from collector.control.doors.gateways.forward_auth import ForwardAuthPages
from collector.control.doors.grpc.control import ControlService
from collector.control.doors.grpc.ext_authz import ExtAuthz
from collector.control.doors.notices import NoticePages
from collector.control.doors.operators import OperatorPages, Operators
from collector.control.doors.request import Route
from collector.control.feedback.hub import Hub
from collector.control.feedback.pages import FeedbackPages
from collector.control.kill.pages import KillPages
from collector.control.outage.front import Served
from collector.control.outage.stand_in import refuse
from collector.control.wiring.house import House, Outside, Settings, build
from collector.control.wiring.running import Running, restore
from collector.state.store import State


def served(house: House, running: Running, on_fatal: Callable[[Exception], None]) -> Served:
    """What the owner answers at every port."""
    asker = Asker(running.owner, house.authenticate)
    return _served(asker, running.hub, _routes(house, running), on_fatal)


def stand_in(house: House, running: Running) -> Served:
    """The same while the state cannot be written: agents are answered by the stand-in, everybody else with 503."""
    asker = Asker(house.stand_in, house.authenticate)
    pages = {(route.method, route.path): route.page for route in _asked(house, asker)}
    routes = [route._replace(page=pages.get((route.method, route.path), refuse)) for route in _routes(house, running)]
    return _served(asker, running.hub, routes, house.trouble.tell)


def routes_of(data_dir: Path, settings: Settings, outside: Outside) -> list[Route]:
    """Everything an owner of that data directory would serve, to be described and not to be served."""
    with ExitStack() as stack:
        house = build(data_dir, settings, outside, stack)
        state = State(data_dir / "state" / "state.db")
        stack.callback(state.close)
        return _routes(house, restore(house, state))


def _served(asker: Asker, hub: Hub, routes: list[Route], on_fatal: Callable[[Exception], None]) -> Served:
    services = [ControlService(asker, hub).service(), ExtAuthz(asker).service()]
    return Served(Api(routes, on_fatal=on_fatal), services, on_fatal)


def _asked(house: House, asker: Asker) -> list[Route]:
    """What agents and gateways ask."""
    control = house.settings.control
    return [
        *AgentPages(asker.owner, house.authenticate, control).routes(),
        *AuthzenPages(asker, control).routes(),
        *ForwardAuthPages(asker, control).routes(),
    ]


def _routes(house: House, running: Running) -> list[Route]:
    """Everything the endpoint serves."""
    control, parts = house.settings.control, running.parts
    operators = Operators(house.authenticate, house.settings.operator_token)
    return [
        *_asked(house, Asker(running.owner, house.authenticate)),
        *BudgetPages(running.owner, parts, operators, control).routes(),
        *FeedbackPages(running.hub, control).routes(),
        *KillPages(running.switch, operators, parts.committer, control).routes(),
        *OperatorPages(running.corrections, house.seals, operators, control).routes(),
        *NoticePages(running.notices, operators, control, clock=time.time_ns).routes(),
    ]
