"""The words of the account: what a record is to it, and the rule that decided how it counts.

They stand on ledger rows (`accounting_role`, `accounting_rule`), so that reports can tell a call
that cost money from the second telling of the same one. Where the rules come from is said in
`collector/accounting/README.md`.
"""

from typing import Final


class Role:
    """What a record is to the account (`accounting_role`); everything else has none."""

    CALL: Final = "call"
    """One model inference: the unit of account."""
    AGGREGATE: Final = "aggregate"
    """Usage of an agent, a workflow or a wrapper: a sum of calls below it."""
    ECHO: Final = "echo"
    """A repetition of a call on another record of the same emitter: never billed, only read for details."""
    TOOL: Final = "tool"
    """One execution of a tool."""


class Rule:
    """How a record counts (`accounting_rule`)."""

    USAGE: Final = "usage"
    """A call, billed by its own usage."""
    NO_USAGE: Final = "no_usage"
    """A call that succeeded without saying its usage: counted, listed, its cost unknown."""
    FAILED: Final = "failed"
    """A call that failed without usage: no provider bills it."""
    SAME_RESPONSE: Final = "same_response"
    """Another record with the provider's same response id counts this call."""
    SAME_SPAN: Final = "same_span"
    """Another record of the same span counts this call."""
    NESTED: Final = "nested_call"
    """The call around it, or the one inside it, counts this call."""
    SAME_TIME: Final = "same_usage_and_time"
    """A record of another instrumentation with the same service, model, usage and time counts this call."""
    AGGREGATE: Final = "aggregate"
    """A sum; calls below it are metered, or it has no usage to bill."""
    AGGREGATE_ONLY: Final = "aggregate_only"
    """A sum that is billed because nothing below it is metered."""
    COVERED: Final = "covered_by_aggregate"
    """A call without usage below a sum that is billed."""
    ECHO: Final = "echo"
    """A repetition: another record of the same emitter counts this call."""
    STORED_RESPONSE: Final = "stored_response"
    """A stored response was read again: no provider bills that."""
    TOGETHER: Final = "booked_together"
    """A correction books this call with what all of its records tell of it."""
    CORRECTED: Final = "corrected"
    """A correction: more is known of this very call now, its agent for example."""
    TOOL: Final = "tool"
    """A tool execution, counted."""
    SAME_TOOL_CALL: Final = "same_tool_call"
    """Another record of the same tool call counts it."""
    RERATED: Final = "rerated"
    """A correction: the price of a period changed after it was booked."""


MERGED: Final = (Rule.SAME_RESPONSE, Rule.SAME_SPAN, Rule.NESTED, Rule.SAME_TIME)
"""The rules under which two records are one call."""

SPLIT_FROM_COST: Final = "+split_from_emitted_cost"
"""Ends `usage_rule` where pricing found out how long what was written to the cache is kept."""

PRICE_FOUND: Final = "price_found"
"""Finding on a re-rating's correction of a call that had no price before."""
