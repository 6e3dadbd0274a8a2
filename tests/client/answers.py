"""Bodies as the control endpoint sends them."""

AGENT = "acme/support/retry-loop"

BUDGET: dict[str, object] = {
    "scope": AGENT,
    "window": "daily",
    "unit": "usd",
    "limit": "50.000000000",
    "settled": "49.700000001",
    "held": "0.100000000",
    "remaining": "0.199999999",
    "resets_at": "2026-11-25T00:00:00Z",
}

TENANT_BUDGET: dict[str, object] = {
    **BUDGET,
    "scope": "acme/support",
    "limit": "200.000000000",
    "remaining": "120.500000000",
}

ALLOW: dict[str, object] = {
    "decision_id": "dec-1",
    "verdict": "allow",
    "reasons": [],
    "hold": {
        "id": "hold-1",
        "amount_usd": "0.520000000",
        "basis": "worst_case",
        "expires_at": "2026-11-24T12:15:00.123456789Z",
    },
    "budgets": [BUDGET, TENANT_BUDGET],
    "epoch": 7,
    "valid_until": "2026-11-24T12:00:00Z",
}

DENY: dict[str, object] = {
    **ALLOW,
    "decision_id": "dec-2",
    "verdict": "deny",
    "hold": None,
    "reasons": [
        {
            "rule": f"budget.daily.{AGENT}",
            "message": f"The daily budget of {AGENT} has 0.199999999 USD left of 50.000000000 USD, "
            "and this call may cost 0.520000000 USD. It resets at 2026-11-25T00:00:00Z.",
            "fix": "Wait for the reset, or raise budgets.daily.usd.",
        }
    ],
}

SETTLED: dict[str, object] = {
    "id": "hold-1",
    "state": "settled",
    "amount_usd": "0.520000000",
    "settled_usd": "0.410000001",
}

VOID: dict[str, object] = {**SETTLED, "state": "void", "settled_usd": None}

FINISHED: dict[str, object] = {"unfinished": []}


def denied(rule: str, *, verdict: str = "deny") -> dict[str, object]:
    """A refusal by another rule."""
    return {**DENY, "verdict": verdict, "reasons": [{"rule": rule, "message": "It may not.", "fix": "Ask somebody."}]}


def error(name: str, message: str) -> dict[str, object]:
    """An error body."""
    return {"error": name, "message": message, "fix": "Mend it."}
