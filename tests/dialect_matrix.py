"""Every recorded emitter, booked, beside what its provider billed: the table in the README.

    python -m tests.dialect_matrix            prints it
    python -m tests.dialect_matrix --write    puts it into README.md

Prices are genai-prices' own calculation over the provider's usage, call by call, at the call's time
and tier: none of it goes through the code that is measured.
"""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from genai_prices import Usage, calc_price

from collector.dialects import DIALECTS
from schemas.accounting import MERGED, Role
from schemas.money import format_usd
from tests.captures_on_disk import emitters, requests, truth
from tests.collector.booking import Books, decode
from tests.collector.dialects.expected import EXPECTED

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- dialect matrix: python -m tests.dialect_matrix --write -->", "<!-- end of the dialect matrix -->"
NO_CALLS = "mcp-sdk-native"
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
Row = dict[str, Any]


class Line(NamedTuple):
    """One emitter: calls the provider billed, and what became of them; costs in nano-USD.

    `fair` is what the provider billed for the booked calls.
    """

    emitter: str
    dialects: tuple[str, ...]
    billed: int
    booked: int
    unmetered: int
    unseen: int
    merged: int
    fair: int
    cost: int


@cache
def booked(emitter: str) -> tuple[Row, ...]:
    """The ledger rows of a capture."""
    books = Books()
    books.book(decode(list(requests(emitter))))
    return tuple(books.all().to_pylist())


def effective(rows: Iterable[Row]) -> list[Row]:
    """The rows that calls and money are summed over."""
    return [row for row in rows if row["call_count"] and row["accounting_role"] != Role.TOOL]


def line(emitter: str) -> Line:
    """What became of an emitter's calls."""
    rows = booked(emitter)
    counted = effective(rows)
    metered = sum(row["call_count"] for row in counted if row["metered"])
    unmetered = sum(row["call_count"] for row in counted if not row["metered"])
    calls = [call for call in truth(emitter)["calls"] if call["billed"]]
    untold = {*EXPECTED[emitter].unmetered, *EXPECTED[emitter].unseen}
    return Line(
        emitter=emitter,
        dialects=tuple(
            d.name for d in DIALECTS if d.name in {row["dialect"] for row in rows if row["accounting_role"]}
        ),
        billed=len(calls),
        booked=metered,
        unmetered=unmetered,
        unseen=len(calls) - metered - unmetered,
        merged=sum(row["accounting_rule"] in MERGED and row["call_count"] == 0 for row in rows),
        fair=sum(price(call) for call in calls if call["n"] not in untold),
        cost=sum(row["cost_nano_usd"] or 0 for row in counted),
    )


def price(call: dict[str, Any]) -> int:
    """What a provider bills for a call, nano-USD, by genai-prices' own arithmetic."""
    tokens = call["tokens"]
    written = tokens["cache_write_5m"] + tokens["cache_write_1h"]
    # genai-prices has no row for a class that a model does not have, also when it is 0.
    classes = {"cache_read_tokens": tokens["cache_read"], "cache_write_tokens": written} | {
        "cache_write_1h_tokens": tokens["cache_write_1h"]
    }
    usage = Usage(
        input_tokens=tokens["input_total"],
        output_tokens=tokens["output"],
        **{name: count for name, count in classes.items() if count},
    )
    tier = {"service_tier": call["service_tier"]} if call.get("service_tier") else None
    at = datetime.fromtimestamp(call["t"], UTC)
    provider = _PROVIDERS[call["api"].partition(".")[0]]
    found = calc_price(
        usage, call["response_model"], provider_id=provider, genai_request_timestamp=at, price_context=tier
    )
    return round(found.total_price * 10**9)


def table() -> str:
    """The table, as Markdown."""
    titles = {dialect.name: dialect.title for dialect in DIALECTS}
    numbers = ("billed", "booked", "unmetered", "unseen", "merged", "billed USD", "booked USD")
    lines = [f"| recorded emitter | read as | {' | '.join(numbers)} | gaps |", f"|---|---|{'--:|' * len(numbers)}---|"]
    for each in map(line, (emitter for emitter in emitters() if emitter != NO_CALLS)):
        read_as = ", ".join(titles[name] for name in each.dialects)
        calls = map(str, (each.billed, each.booked, each.unmetered, each.unseen, each.merged))
        cells = (each.emitter, read_as, *calls, format_usd(each.fair), format_usd(each.cost), "; ".join(gaps(each)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def gaps(each: Line) -> list[str]:
    """What keeps an emitter's calls from being booked, or from being booked right."""
    expected = EXPECTED[each.emitter]
    found = [*expected.unmetered.values(), *expected.unseen.values()]
    found += [
        f"does not split off {name.removesuffix('_tokens').replace('_', ' ')}" for name in sorted(expected.silent)
    ]
    found += [f"counts call {number} wrong" for number in expected.said if each.cost != each.fair]
    if each.cost != each.fair and not (expected.silent or expected.said):
        found.append("does not tell the service tier")
    return list(dict.fromkeys(found))


def document(readme: str) -> str:
    """The README with the table as it is now."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        README.write_text(document(README.read_text()))
    else:
        sys.stdout.write(f"{table()}\n")
