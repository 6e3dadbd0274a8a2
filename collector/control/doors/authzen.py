"""AuthZEN's questions → decisions, in AuthZEN's words.

Authorization API 1.0, https://openid.net/specs/authorization-api-1_0.html: §6 evaluation, §7 evaluations, §9 discovery.
The subject is the agent the key speaks for; `action.name` is our action; a resource of type `model` or `tool` is what
it is done with, and its properties, or else the context, say the rest: `provider`, `input_tokens`, `max_output_tokens`,
`idempotency_key`, `labels`. Properties nobody knows are passed over, as the specification asks.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from collector.access.keys import Credential
from collector.control.answers import DECISION_HEADERS
from collector.control.doors.asking import Asker
from collector.control.doors.config import Config
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route
from collector.control.doors.statuses import error_response
from schemas.control import BudgetView, Decision, DecisionRequest, HoldView, Reason
from schemas.errors import Forbidden, Permanent, Retryable, Unauthenticated
from schemas.ids import AgentPath

Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]
Properties = dict[str, Any]

_SINGLE = "/access/v1/evaluation"
_BATCH = "/access/v1/evaluations"
_DISCOVERY = "/.well-known/authzen-configuration"
# What a resource's properties or the context may say of a question.
_SAID = ("provider", "input_tokens", "max_output_tokens", "idempotency_key", "labels")


class Subject(msgspec.Struct, frozen=True):
    """Who acts: type `agent`, and the agent's id alone or as `ORG/TENANT/AGENT`."""

    type: str
    id: str
    properties: Properties = {}


class Action(msgspec.Struct, frozen=True):
    """What is done, such as `llm.call` or `tool.call`."""

    name: str
    properties: Properties = {}


class Resource(msgspec.Struct, frozen=True):
    """What it is done with: type `model` or `tool`, and its name."""

    type: str
    id: str
    properties: Properties = {}


class Evaluation(msgspec.Struct, frozen=True):
    """One question; in a batch, what is left out comes from the batch itself."""

    subject: Subject | None = None
    action: Action | None = None
    resource: Resource | None = None
    context: Properties | None = None


class Options(msgspec.Struct, frozen=True):
    """How a batch is gone through."""

    evaluations_semantic: Semantic = "execute_all"


class Evaluations(Evaluation, frozen=True):
    """Many questions at once; without `evaluations` it is one."""

    evaluations: list[Evaluation] = []
    options: Options = Options()


class EvaluationError(msgspec.Struct, frozen=True):
    """Why one question of a batch could not be judged."""

    status: int
    message: str


class EvaluationContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our decision, or what stood in its way."""

    decision_id: str = ""
    verdict: str = ""
    reasons: list[Reason] = []
    hold: HoldView | None = None
    budgets: list[BudgetView] = []
    epoch: int = 0
    valid_until: str = ""
    error: EvaluationError | None = None


class EvaluationAnswer(msgspec.Struct, frozen=True):
    """`decision` is true when the verdict is `allow`."""

    decision: bool
    context: EvaluationContext


class EvaluationsAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers in the order of the questions, as far as they were gone through; or the one answer."""

    evaluations: list[EvaluationAnswer] | msgspec.UnsetType = msgspec.UNSET
    decision: bool | msgspec.UnsetType = msgspec.UNSET
    context: EvaluationContext | msgspec.UnsetType = msgspec.UNSET


class Metadata(msgspec.Struct, frozen=True):
    """Where this decision point is asked."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str


_EVALUATION = msgspec.json.Decoder(Evaluation)
_EVALUATIONS = msgspec.json.Decoder(Evaluations)
_ONE = Operation("AuthZEN: may this be done?", EvaluationAnswer, Evaluation, may_be=(409,), tells=DECISION_HEADERS)
_MANY = Operation("AuthZEN: may these be done?", EvaluationsAnswer, Evaluations, may_be=(409,))
_METADATA = Operation("AuthZEN: where this decision point is asked.", Metadata, secured=False)


class AuthzenPages:
    """The three pages of the specification."""

    def __init__(self, asker: Asker, config: Config) -> None:
        self._asker = asker
        self._config = config

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("POST", _SINGLE, self._evaluate, _ONE),
            Route("POST", _BATCH, self._evaluate_all, _MANY),
            Route("GET", _DISCOVERY, self._describe, _METADATA),
        )

    async def _evaluate(self, request: Request) -> Page:
        credential = self._credential(request)
        evaluation = await request.json(_EVALUATION, self._config.max_body)
        answered = await self._asker.ask_as(credential, _question(credential, evaluation))
        return Page(ENCODE(_answer(answered.decision)), answered.headers)

    async def _evaluate_all(self, request: Request) -> Page:
        credential = self._credential(request)
        batch = await request.json(_EVALUATIONS, self._config.max_body)
        if not batch.evaluations:
            answer = await self._judge(credential, batch)
            return Page(ENCODE(EvaluationsAnswer(decision=answer.decision, context=answer.context)))
        if len(batch.evaluations) > self._config.max_evaluations:
            raise Permanent(
                f"{len(batch.evaluations)} evaluations are more than extensions.control.max_evaluations "
                f"({self._config.max_evaluations}).",
                fix="Send fewer at once, or raise the limit.",
            )
        questions = [_completed(each, batch) for each in batch.evaluations]
        answers = await self._judge_all(credential, questions, batch.options.evaluations_semantic)
        return Page(ENCODE(EvaluationsAnswer(evaluations=answers)))

    async def _describe(self, request: Request) -> Page:
        host = request.headers.get(b"host", b"localhost").decode("latin-1")
        url = (self._config.external_url or f"http://{host}").rstrip("/")
        return Page(ENCODE(Metadata(url, url + _SINGLE, url + _BATCH)))

    async def _judge_all(
        self, credential: Credential, questions: Sequence[Evaluation], semantic: Semantic
    ) -> list[EvaluationAnswer]:
        """In order; all are made durable together where none depends on the answer before."""
        if semantic == "execute_all":
            return await asyncio.gather(*(self._judged(credential, question) for question in questions))
        last = semantic == "permit_on_first_permit"
        answers: list[EvaluationAnswer] = []
        for question in questions:
            answers.append(await self._judged(credential, question))
            if answers[-1].decision is last:
                break
        return answers

    async def _judged(self, credential: Credential, evaluation: Evaluation) -> EvaluationAnswer:
        """One of many: what is wrong with it is its own answer (§7.2.1)."""
        try:
            return await self._judge(credential, evaluation)
        except (Unauthenticated, Forbidden, Permanent, Retryable) as error:
            context = EvaluationContext(error=EvaluationError(error_response(error)[0], error.diagnostics()))
            return EvaluationAnswer(decision=False, context=context)

    async def _judge(self, credential: Credential, evaluation: Evaluation) -> EvaluationAnswer:
        return _answer((await self._asker.ask_as(credential, _question(credential, evaluation))).decision)

    def _credential(self, request: Request) -> Credential:
        credential = self._asker.authenticate(request.credential_text)
        credential.path()
        return credential


def _answer(decision: Decision) -> EvaluationAnswer:
    context = EvaluationContext(**{name: getattr(decision, name) for name in decision.__struct_fields__})
    return EvaluationAnswer(decision=decision.verdict == "allow", context=context)


def _completed(evaluation: Evaluation, batch: Evaluations) -> Evaluation:
    """§7.1.1: what a question leaves out is the batch's; what it says replaces that as a whole."""
    return Evaluation(
        evaluation.subject or batch.subject,
        evaluation.action or batch.action,
        evaluation.resource or batch.resource,
        batch.context if evaluation.context is None else evaluation.context,
    )


def _question(credential: Credential, evaluation: Evaluation) -> DecisionRequest:
    subject, action, resource = evaluation.subject, evaluation.action, evaluation.resource
    if subject is None or action is None or resource is None:
        raise Permanent(
            "An evaluation needs `$.subject`, `$.action` and `$.resource`.",
            fix="See the Authorization API 1.0 of AuthZEN, section 6.1.",
        )
    said = _said(evaluation.context or {}) | _said(resource.properties)
    about = {"model": resource.id} if resource.type == "model" else {}
    if resource.type == "tool":
        about = {"tool": resource.id}
    fields = said | about | {"action": action.name, "agent": _agent(credential, subject)}
    try:
        return msgspec.convert(fields, DecisionRequest)
    except msgspec.ValidationError as error:
        raise Permanent(
            f"A property of the resource or the context cannot be used: {error}.",
            fix="See DecisionRequest in the schema.",
        ) from None


def _said(properties: Mapping[str, object]) -> Properties:
    return {name: properties[name] for name in _SAID if name in properties}


def _agent(credential: Credential, subject: Subject) -> str:
    """The agent's id; raises `Forbidden` for a subject this key does not speak for."""
    if subject.type != "agent":
        raise Permanent(f"`$.subject.type` is {subject.type!r}.", fix="Only agents are judged: write `agent`.")
    if "/" not in subject.id:
        return subject.id
    path = AgentPath.parse(subject.id)
    if not credential.speaks_for(path):
        raise Forbidden(
            f"The key of {credential.path()} may not speak for {subject.id!r}.",
            fix="Use that agent's or its tenant's key.",
        )
    return path.agent
