"""Forward authentication: nginx's `auth_request` and Traefik's `forwardAuth` ask by HTTP before they pass a call on.

nginx knows 2xx, 401 and 403 and turns everything else into 500, so its page answers nothing else and says the status a
caller should see in `x-spanward-status`, the sentence in `x-spanward-reason` and the whole body, in one line, in
`x-spanward-body`. Traefik hands the answer on as it is. Neither forwards the body by default: then the model comes from
the path or `x-spanward-model`, and the length of the answer from `x-spanward-max-output-tokens` or, without it, the
setting `default_max_output_tokens`. docs/gateways holds the settings.
"""

import time
from collections.abc import Callable

from collector.control.answers import DECISION_HEADERS
from collector.control.doors.asking import Asker
from collector.control.doors.config import Config
from collector.control.doors.gateways.calls import HttpCall, read_call
from collector.control.doors.gateways.verdicts import GatewayAnswer, judge
from collector.control.doors.request import ANY, Operation, Page, Request, Route

# nginx reads all headers of an answer into one buffer, of 4 KiB by default.
_MAX_BODY_HEADER_BYTES = 2500

_OURS = {
    "x-spanward-key": "The agent's or its tenant's key.",
    "x-spanward-agent": "With a tenant's key: the agent's id.",
    "x-spanward-model": "The model, where neither path nor body names it.",
    "x-spanward-max-output-tokens": "The longest answer, where the body does not say it.",
    "x-spanward-provider": "Who bills the call, where the host does not say it.",
}
_TELLS = DECISION_HEADERS
_NGINX = Operation(
    "Whether nginx may pass a call on; the caller's status is in `x-spanward-status`.",
    may_be=(401, 403),
    foreign=True,
    secured=False,
    headers=_OURS
    | {
        "x-original-method": "`$request_method`.",
        "x-original-uri": "`$request_uri`.",
        "x-original-length": "`$content_length`, which bounds the input.",
    },
    tells=_TELLS,
)
_TRAEFIK = Operation(
    "Whether Traefik may pass a call on; the answer is the caller's.",
    may_be=(401, 403, 413, 429, 503),
    foreign=True,
    secured=False,
    headers=_OURS
    | {
        "x-forwarded-method": "The call's method.",
        "x-forwarded-uri": "Its path and query.",
        "x-forwarded-host": "Its host.",
    },
    tells=_TELLS,
)


class ForwardAuthPages:
    """The pages two gateways ask."""

    def __init__(self, asker: Asker, config: Config, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._asker = asker
        self._config = config
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route(ANY, "/v1/forward-auth/nginx", self._nginx, _NGINX),
            Route(ANY, "/v1/forward-auth/traefik", self._traefik, _TRAEFIK),
        )

    async def _nginx(self, request: Request) -> Page:
        headers = request.texts()
        size = headers.get("x-original-length", "")
        call = HttpCall(
            method=headers.get("x-original-method", "POST"),
            path=headers.get("x-original-uri", "/"),
            host=headers.get("x-original-host", ""),
            headers=headers,
            size=int(size) if size.isdecimal() and len(size) < 16 else 0,
        )
        answer = await judge(self._asker, read_call(call), headers, self._clock())
        if answer.status == 200:
            return Page(b"{}", answer.tells)
        body = answer.body if len(answer.body) <= _MAX_BODY_HEADER_BYTES else b""
        return Page(answer.body, [*answer.tells, (b"x-spanward-body", body)], 401 if answer.status == 401 else 403)

    async def _traefik(self, request: Request) -> Page:
        headers = request.texts()
        body = await request.body(self._config.max_forwarded_body)
        call = HttpCall(
            method=headers.get("x-forwarded-method", "POST"),
            path=headers.get("x-forwarded-uri", "/"),
            host=headers.get("x-forwarded-host", ""),
            headers=headers,
            body=body,
        )
        return _page(await judge(self._asker, read_call(call), headers, self._clock()))


def _page(answer: GatewayAnswer) -> Page:
    return Page(answer.body or b"{}", answer.tells, answer.status)
