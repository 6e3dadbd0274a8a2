"""A budget that reached a threshold → what people are told of it.

They are told which budget, how far it is, what happens now, until when, and how to change that.
"""

from collector.governance.counters import Counter
from collector.governance.windows import utc_text
from schemas.money import format_usd
from schemas.notices import Notice, Severity

_LEVELS: dict[int, tuple[str, Severity]] = {
    80: ("budget.alert", "info"),
    90: ("budget.warning", "warning"),
    100: ("budget.block", "critical"),
}
_UNIT = "usd"
_FILES = ("org.yaml", "tenant.yaml", "")


def crossing_notice(counter: Counter, threshold: int, at_ns: int) -> Notice:
    """The notice of one threshold of one budget in one window, measured against one limit: its key is all of these."""
    kind, severity = _LEVELS[threshold]
    scope, window, limit = counter.scope, counter.window, counter.cap
    budget = f"{window} budget of {scope}"
    share = (counter.settled + counter.held) * 100 // limit if limit else 100
    blocked = threshold == 100
    text = (
        f"{_usd(counter.settled)} USD are settled and {_usd(counter.held)} USD held of {_usd(limit)} USD, "
        f"{share} % of the {budget}. {_consequence(counter, at_ns, blocked=blocked)} "
        f"To raise the limit, change budgets.{window}.usd in governance/{_file(scope)}; it is in force within seconds."
    )
    return Notice(
        kind=kind,
        key=f"{scope}|{window}|{utc_text(counter.start)}|{_UNIT}|{threshold}|{limit}",
        scope=scope,
        severity=severity,
        title=f"The {budget} is used up" if blocked else f"The {budget} has reached {threshold} %",
        text=text,
        data={
            "scope": scope,
            "window": window,
            "window_start": utc_text(counter.start),
            "resets_at": utc_text(counter.end),
            "unit": _UNIT,
            "threshold": threshold,
            "limit_usd": format_usd(limit),
            "settled_usd": format_usd(counter.settled),
            "held_usd": format_usd(counter.held),
        },
        time=at_ns,
    )


def _consequence(counter: Counter, at_ns: int, *, blocked: bool) -> str:
    reset = utc_text(counter.end)
    if counter.end <= at_ns:
        return f"Late calls brought it there: the window ended at {reset}, so nothing is refused because of it."
    if blocked:
        return f"Calls that do not fit any more are refused until it resets at {reset}."
    return f"Nothing is refused yet. It resets at {reset}."


def _file(scope: str) -> str:
    """The governance file that holds a scope's limit."""
    org, *rest = scope.split("/")
    if len(rest) == 2:
        return f"{org}/{rest[0]}/agents/{rest[1]}.yaml"
    return f"{scope}/{_FILES[len(rest)]}"


def _usd(nano_usd: int) -> str:
    """With as many places as say something, but cents at least."""
    whole, _, fraction = format_usd(nano_usd).partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
