"""A budget that reached a threshold → what people are told of it.

They are told which budget, how far it is, what happens now, until when, and how to change that.
"""

from collector.governance.counters import Counter
from collector.governance.limits import governance_file
from collector.governance.windows import utc_text
from collector.state.notices import Notice, Severity
from schemas.money import amount_text, worded

_LEVELS: dict[int, tuple[str, Severity]] = {
    80: ("budget.alert", "info"),
    90: ("budget.warning", "warning"),
    100: ("budget.block", "critical"),
}


def crossing_notice(counter: Counter, threshold: int, at_ns: int) -> Notice:
    """The notice of one threshold of one budget in one window, measured against one limit: its key is all of these."""
    kind, severity = _LEVELS[threshold]
    scope, window, unit, limit = counter.scope, counter.window, counter.unit, counter.most
    budget = f"{window} {'token ' if unit == 'tokens' else ''}budget of {scope}"
    share = (counter.settled + counter.held) * 100 // limit if limit else 100
    text = (
        f"{_short(unit, counter.settled)} are settled and {_short(unit, counter.held)} held of {_short(unit, limit)}, "
        f"{share} % of the {budget}. {_consequence(counter, threshold, at_ns)} "
        f"To raise the limit, change budgets.{window}.{unit} in {governance_file(scope)}, or for a while: "
        f"spanward budgets increase --scope {scope} --window {window}."
    )
    return Notice(
        kind=kind,
        key=f"{scope}|{window}|{utc_text(counter.start)}|{unit}|{threshold}|{limit}",
        scope=scope,
        severity=severity,
        title=f"The {budget} is used up" if threshold == 100 else f"The {budget} has reached {threshold} %",
        text=text,
        data={
            "scope": scope,
            "window": window,
            "window_start": utc_text(counter.start),
            "resets_at": utc_text(counter.end),
            "unit": unit,
            "mode": counter.mode,
            "threshold": threshold,
            "limit": amount_text(unit, limit),
            "settled": amount_text(unit, counter.settled),
            "held": amount_text(unit, counter.held),
        },
        time=at_ns,
    )


def _consequence(counter: Counter, threshold: int, at_ns: int) -> str:
    reset = utc_text(counter.end)
    if counter.end <= at_ns:
        return f"Late calls brought it there: the window ended at {reset}, so nothing is refused because of it."
    if counter.mode != "enforce":
        return f"Its mode is {counter.mode}, so nothing is refused. It resets at {reset}."
    if threshold == 100:
        return f"Calls that do not fit any more are refused until it resets at {reset}."
    return f"Nothing is refused yet. It resets at {reset}."


def _short(unit: str, amount: int) -> str:
    """In words, with as many places as say something, but cents at least."""
    number, _, word = worded(unit, amount).partition(" ")
    whole, point, fraction = number.partition(".")
    return f"{whole}{point}{fraction.rstrip('0').ljust(2, '0') if point else ''} {word}"
