"""What was counted of an emitter in, sentences about what is not measured and how to mend it out.

Invariant: they are a function of the numbers and of the dialects' own advice, so that the same
ledger gives the same words; an emitter of which nothing is missing is told so. How an emitter is
switched to send usage is said by its dialect, not here.
"""

from collections.abc import Iterator

import msgspec

from collector.dialects import DIALECTS

FULLY_MEASURED = "fully measured"

ADVICE = {dialect.name: dialect.advice for dialect in DIALECTS if dialect.advice}
"""What to change in the set-up of a dialect's emitters, by dialect."""
_OF_ONE_EMITTER = {dialect.name for dialect in DIALECTS if dialect.scopes}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of one emitter, read with these dialects.

    `uncalled` are agent runs of services that show no call at all; `untold` are input tokens that only
    its metrics tell of.
    """

    calls: int
    unmetered: int
    aggregate_only: int
    unknown_model: int
    assumed: int
    uncalled: int
    untold: int
    dialects: tuple[str | None, ...]


def advise(seen: Seen) -> str:
    """What is not measured, with the advice of the emitter's dialects, and what is only assumed."""
    missing = list(_missing(seen))
    # A vocabulary's advice is about calls that were told; an emitter's own says why it tells of none.
    silent = seen.uncalled and not seen.calls
    advising = [name for name in seen.dialects if name in ADVICE and not (silent and name not in _OF_ONE_EMITTER)]
    said = [*missing, *(ADVICE[name] for name in advising if missing), *_untold(seen), *_guessed(seen)]
    return " ".join(f"{part[0].upper()}{part[1:].removesuffix('.')}." for part in said) or FULLY_MEASURED


def _missing(seen: Seen) -> Iterator[str]:
    """What the emitter did not send."""
    if seen.uncalled:
        yield f"{_are(seen.uncalled, 'agent run')} seen and no model call: the model's client needs an instrumentation"
    if seen.unmetered > 0:
        yield f"{seen.unmetered:,} of {_number(seen.calls, 'call')} came without usage"
    if seen.aggregate_only > 0:
        yield f"{_are(seen.aggregate_only, 'call')} known only as a sum over an agent's run"


def _untold(seen: Seen) -> Iterator[str]:
    """What only the emitter's metrics tell of."""
    if seen.untold > 0:
        yield (
            f"its metrics tell of {seen.untold:,} more input tokens than its calls:"
            " spans are sampled, or calls are made without one"
        )


def _guessed(seen: Seen) -> Iterator[str]:
    """What we had to assume, or do not know, about calls that were sent whole."""
    if seen.unknown_model > 0:
        yield f"{_number(seen.unknown_model, 'call')} of a model without a known price: add it to the price overlay"
    if seen.assumed > 0:
        yield f"the lifetime of what {_number(seen.assumed, 'call')} wrote to the cache is assumed, not sent"


def _are(number: int, noun: str) -> str:
    return f"{_number(number, noun)} {'is' if number == 1 else 'are'}"


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
