from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecisionRequest(_message.Message):
    __slots__ = ("action", "model", "provider", "input_tokens", "max_output_tokens", "labels", "idempotency_key", "agent", "tool")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    action: str
    model: str
    provider: str
    input_tokens: int
    max_output_tokens: int
    labels: _containers.ScalarMap[str, str]
    idempotency_key: str
    agent: str
    tool: str
    def __init__(self, action: _Optional[str] = ..., model: _Optional[str] = ..., provider: _Optional[str] = ..., input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., idempotency_key: _Optional[str] = ..., agent: _Optional[str] = ..., tool: _Optional[str] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("rule", "message", "fix")
    RULE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    rule: str
    message: str
    fix: str
    def __init__(self, rule: _Optional[str] = ..., message: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...

class HoldView(_message.Message):
    __slots__ = ("id", "amount_usd", "basis", "expires_at", "tokens")
    ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_USD_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: str
    amount_usd: str
    basis: str
    expires_at: str
    tokens: int
    def __init__(self, id: _Optional[str] = ..., amount_usd: _Optional[str] = ..., basis: _Optional[str] = ..., expires_at: _Optional[str] = ..., tokens: _Optional[int] = ...) -> None: ...

class BudgetView(_message.Message):
    __slots__ = ("scope", "window", "unit", "limit", "settled", "held", "remaining", "resets_at", "mode", "forecast_exhausted_at")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESETS_AT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FORECAST_EXHAUSTED_AT_FIELD_NUMBER: _ClassVar[int]
    scope: str
    window: str
    unit: str
    limit: str
    settled: str
    held: str
    remaining: str
    resets_at: str
    mode: str
    forecast_exhausted_at: str
    def __init__(self, scope: _Optional[str] = ..., window: _Optional[str] = ..., unit: _Optional[str] = ..., limit: _Optional[str] = ..., settled: _Optional[str] = ..., held: _Optional[str] = ..., remaining: _Optional[str] = ..., resets_at: _Optional[str] = ..., mode: _Optional[str] = ..., forecast_exhausted_at: _Optional[str] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "verdict", "reasons", "hold", "budgets", "epoch", "valid_until")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    verdict: str
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    hold: HoldView
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetView]
    epoch: int
    valid_until: str
    def __init__(self, decision_id: _Optional[str] = ..., verdict: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., hold: _Optional[_Union[HoldView, _Mapping]] = ..., budgets: _Optional[_Iterable[_Union[BudgetView, _Mapping]]] = ..., epoch: _Optional[int] = ..., valid_until: _Optional[str] = ...) -> None: ...

class SettleRequest(_message.Message):
    __slots__ = ("hold_id", "cost_usd", "input_tokens", "output_tokens")
    HOLD_ID_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    hold_id: str
    cost_usd: str
    input_tokens: int
    output_tokens: int
    def __init__(self, hold_id: _Optional[str] = ..., cost_usd: _Optional[str] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class VoidRequest(_message.Message):
    __slots__ = ("hold_id",)
    HOLD_ID_FIELD_NUMBER: _ClassVar[int]
    hold_id: str
    def __init__(self, hold_id: _Optional[str] = ...) -> None: ...

class GetHoldRequest(_message.Message):
    __slots__ = ("hold_id",)
    HOLD_ID_FIELD_NUMBER: _ClassVar[int]
    hold_id: str
    def __init__(self, hold_id: _Optional[str] = ...) -> None: ...

class HoldState(_message.Message):
    __slots__ = ("id", "state", "amount_usd", "settled_usd", "tokens", "settled_tokens")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_USD_FIELD_NUMBER: _ClassVar[int]
    SETTLED_USD_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    amount_usd: str
    settled_usd: str
    tokens: int
    settled_tokens: int
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., amount_usd: _Optional[str] = ..., settled_usd: _Optional[str] = ..., tokens: _Optional[int] = ..., settled_tokens: _Optional[int] = ...) -> None: ...

class ListBudgetsRequest(_message.Message):
    __slots__ = ("scope",)
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    scope: str
    def __init__(self, scope: _Optional[str] = ...) -> None: ...

class ListBudgetsResponse(_message.Message):
    __slots__ = ("budgets",)
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetView]
    def __init__(self, budgets: _Optional[_Iterable[_Union[BudgetView, _Mapping]]] = ...) -> None: ...

class Kill(_message.Message):
    __slots__ = ("id", "scope", "target", "reason", "actor", "since", "epoch")
    ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    id: str
    scope: str
    target: str
    reason: str
    actor: str
    since: str
    epoch: int
    def __init__(self, id: _Optional[str] = ..., scope: _Optional[str] = ..., target: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., since: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("client", "last_event_id", "epoch", "drill_id")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DRILL_ID_FIELD_NUMBER: _ClassVar[int]
    client: str
    last_event_id: str
    epoch: int
    drill_id: str
    def __init__(self, client: _Optional[str] = ..., last_event_id: _Optional[str] = ..., epoch: _Optional[int] = ..., drill_id: _Optional[str] = ...) -> None: ...

class FeedbackEvent(_message.Message):
    __slots__ = ("id", "snapshot", "kills", "budgets", "policy", "drill", "key", "end")
    class Snapshot(_message.Message):
        __slots__ = ("epoch", "kills", "policy_digest", "budgets")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        KILLS_FIELD_NUMBER: _ClassVar[int]
        POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
        BUDGETS_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        kills: _containers.RepeatedCompositeFieldContainer[Kill]
        policy_digest: str
        budgets: _containers.RepeatedCompositeFieldContainer[BudgetView]
        def __init__(self, epoch: _Optional[int] = ..., kills: _Optional[_Iterable[_Union[Kill, _Mapping]]] = ..., policy_digest: _Optional[str] = ..., budgets: _Optional[_Iterable[_Union[BudgetView, _Mapping]]] = ...) -> None: ...
    class Kills(_message.Message):
        __slots__ = ("epoch", "kills")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        KILLS_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        kills: _containers.RepeatedCompositeFieldContainer[Kill]
        def __init__(self, epoch: _Optional[int] = ..., kills: _Optional[_Iterable[_Union[Kill, _Mapping]]] = ...) -> None: ...
    class Budgets(_message.Message):
        __slots__ = ("budgets",)
        BUDGETS_FIELD_NUMBER: _ClassVar[int]
        budgets: _containers.RepeatedCompositeFieldContainer[BudgetView]
        def __init__(self, budgets: _Optional[_Iterable[_Union[BudgetView, _Mapping]]] = ...) -> None: ...
    class Policy(_message.Message):
        __slots__ = ("policy_digest",)
        POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
        policy_digest: str
        def __init__(self, policy_digest: _Optional[str] = ...) -> None: ...
    class Drill(_message.Message):
        __slots__ = ("drill_id",)
        DRILL_ID_FIELD_NUMBER: _ClassVar[int]
        drill_id: str
        def __init__(self, drill_id: _Optional[str] = ...) -> None: ...
    class Key(_message.Message):
        __slots__ = ("key_id", "state")
        KEY_ID_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        key_id: str
        state: str
        def __init__(self, key_id: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...
    class End(_message.Message):
        __slots__ = ("reason", "message")
        REASON_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        reason: str
        message: str
        def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    KILLS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DRILL_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    id: str
    snapshot: FeedbackEvent.Snapshot
    kills: FeedbackEvent.Kills
    budgets: FeedbackEvent.Budgets
    policy: FeedbackEvent.Policy
    drill: FeedbackEvent.Drill
    key: FeedbackEvent.Key
    end: FeedbackEvent.End
    def __init__(self, id: _Optional[str] = ..., snapshot: _Optional[_Union[FeedbackEvent.Snapshot, _Mapping]] = ..., kills: _Optional[_Union[FeedbackEvent.Kills, _Mapping]] = ..., budgets: _Optional[_Union[FeedbackEvent.Budgets, _Mapping]] = ..., policy: _Optional[_Union[FeedbackEvent.Policy, _Mapping]] = ..., drill: _Optional[_Union[FeedbackEvent.Drill, _Mapping]] = ..., key: _Optional[_Union[FeedbackEvent.Key, _Mapping]] = ..., end: _Optional[_Union[FeedbackEvent.End, _Mapping]] = ...) -> None: ...
