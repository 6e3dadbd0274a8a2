"""A budget that reached a threshold, a kill, a finding → what people are told of it.

They are told what it is, what happens now, until when, and how to change that.
"""

from collector.governance.counters import Counter
from collector.governance.limits import governance_file
from collector.governance.windows import utc_text
from collector.state.notices import Facts, Notice, Severity
from collector.state.rows import KillRow, Row
from schemas.money import amount_text, worded

_LEVELS: dict[int, tuple[str, Severity]] = {
    80: ("budget.alert", "info"),
    90: ("budget.warning", "warning"),
    100: ("budget.block", "critical"),
}

_FINDINGS: dict[str, Severity] = {"adherence.after_kill": "critical", "adherence.unasked": "info"}
"""Other findings are warnings."""


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
        f"spanward budgets increase --data DIR --scope {scope} --window {window} "
        f"--{unit} MORE --until TIME --reason TEXT."
    )
    return Notice(
        kind=kind,
        key=f"{scope}|{window}|{utc_text(counter.start)}|{unit}|{threshold}|{limit}",
        scope=scope,
        severity=severity,
        title=_title(budget, threshold, share),
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


def kill_notice(row: KillRow, message: str) -> Notice:
    """The notice of a kill; its key is the kill's id."""
    release = f"It stays until somebody releases it: spanward kill release {row.id} --data DIR --reason TEXT."
    return _of_kill("kill", row, (f"{message.rstrip('.')}. {release}", row.since), "critical")


def release_notice(row: KillRow, message: str, at_ns: int) -> Notice:
    """The notice of a kill's release; its key is the kill's id."""
    return _of_kill("kill.release", row, (message, at_ns), "warning")


def finding_notice(rule: str, key: str, row: Row) -> Notice:
    """The notice of the first entry of a finding; its key is the finding's."""
    scope = "/".join(str(row[name]) for name in ("org", "tenant", "agent"))
    return Notice(
        kind=f"finding.{rule}",
        key=f"finding|{key}",
        scope=scope,
        severity=_FINDINGS.get(rule, "warning"),
        title=f"{scope}: {rule}",
        text=f"{row['message']} More of the same is counted in the ledger: spanward report activity --data DIR --kind finding.",
        data={"scope": scope, "rule": rule, "finding": key, "entry_id": str(row["entry_id"])},
        time=int(row["received_time"] or 0),
    )


def _of_kill(kind: str, row: KillRow, told: tuple[str, int], severity: Severity) -> Notice:
    text, at_ns = told
    data: Facts = {
        "kill": row.id, "scope": row.scope, "target": row.target, "reason": row.reason, "epoch": row.epoch,
    }  # fmt: skip
    return Notice(
        kind=kind,
        key=f"{kind}|{row.id}",
        # A model or a tool belongs to nobody: everybody may be concerned.
        scope="platform" if ":" in row.target else row.target,
        severity=severity,
        title=f"Kill of {row.target} released" if kind == "kill.release" else f"Killed: {row.target}",
        text=text,
        data=data,
        time=at_ns,
    )


def _title(budget: str, threshold: int, share: int) -> str:
    if threshold < 100:
        return f"The {budget} has reached {threshold} %"
    # The first refusal counts as 100 %, and one large call can be refused by a budget that is almost untouched.
    return f"The {budget} is used up" if share >= 90 else f"The {budget} had no room for a call"


def _consequence(counter: Counter, threshold: int, at_ns: int) -> str:
    reset = utc_text(counter.end)
    if counter.end <= at_ns:
        return f"Late calls brought it there: the window ended at {reset}, so nothing is refused because of it."
    if counter.mode != "enforce":
        return f"Its mode is {counter.mode}, so nothing is refused. It resets at {reset}."
    if threshold == 100:
        return f"Calls that do not fit are refused until it resets at {reset}."
    return f"Nothing is refused yet. It resets at {reset}."


def _short(unit: str, amount: int) -> str:
    """In words, with as many places as say something, but cents at least."""
    number, _, word = worded(unit, amount).partition(" ")
    whole, point, fraction = number.partition(".")
    return f"{whole}{point}{fraction.rstrip('0').ljust(2, '0') if point else ''} {word}"
