"""Money is an integer number of nano-USD; this is the only place that reads or writes it as text.

One token can cost less than a micro-dollar, so nano-USD is the ledger's unit. Unit prices are
kept in pico-USD per token, because a published price such as 0.0375 USD per million tokens is
37.5 nano-USD per token.
"""

import re

from schemas.errors import Permanent

NANO_PER_USD = 1_000_000_000
PICO_PER_NANO = 1_000
MAX_NANO_USD = 2**62

_PLACES = 9
# Read by hand: `decimal` rounds to 28 digits without a word, and a float would do worse.
_AMOUNT = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,100}))?")


def parse_usd(text: str | int) -> int:
    """USD as written by a person (`"50"`, `"0.25"`) to nano-USD; raises `Permanent` if it is not an exact amount."""
    match = _AMOUNT.fullmatch(str(text))
    if match is None:
        raise Permanent(f"{text!r} is not an amount in USD.", fix='Write a decimal number such as "50" or "0.25".')
    whole, fraction = match.group(1), (match.group(2) or "").rstrip("0")
    if len(fraction) > _PLACES:
        raise Permanent(f"{text!r} has more than nine decimal places.", fix="The smallest unit is 0.000000001 USD.")
    nano = int(whole + fraction.ljust(_PLACES, "0"))
    if nano > MAX_NANO_USD:
        raise Permanent(f"{text!r} is too large an amount.", fix="The largest is 4611686018 USD.")
    return nano


def format_usd(nano_usd: int) -> str:
    """nano-USD as a decimal string with nine places, `-` in front when negative."""
    sign = "-" if nano_usd < 0 else ""
    whole, fraction = divmod(abs(nano_usd), NANO_PER_USD)
    return f"{sign}{whole}.{fraction:09d}"


def amount_text(unit: str, amount: int) -> str:
    """An amount of `usd` (nano-USD in) or `tokens` as the decimal text that goes on the wire."""
    return format_usd(amount) if unit == "usd" else str(amount)


def worded(unit: str, amount: int) -> str:
    """The same for a person: `50.000000000 USD`, `2000000 tokens`."""
    return f"{amount_text(unit, amount)} {'USD' if unit == 'usd' else 'tokens'}"


def round_pico(pico_usd: int) -> int:
    """pico-USD to nano-USD, half to even (the rule of `decimal`'s default context)."""
    whole, rest = divmod(pico_usd, PICO_PER_NANO)
    half = PICO_PER_NANO // 2
    return whole + (rest > half or (rest == half and whole & 1 == 1))
