"""The columns of providers' CSV exports → which of them hold a day, a model, counts and money.

Invariant: a shape adds columns up only where its provider counts classes apart, so that `input` is all
input, cached included, as in the ledger. How cells are read is left to `analytics.reconcile.invoice`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from analytics.query import nearest
from schemas.errors import ConfigError

COUNTS = ("calls", "input", "cache_read", "cache_write", "output")
QUANTITIES = (*COUNTS, "cost")
PLACES = ("day", "model", "key")
FIELDS = (*PLACES, *QUANTITIES)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of export.

    `columns`: what we compare → the export's columns, added up where there are several; those that an
    export lacks count nothing. `required`: the columns that tell the shape. `provider`: whose bill it
    is, in GenAI semantic-convention words; "" for any. `cost_unit_nano_usd`: the smallest amount the
    export writes, when it rounds; each of its rows may be off by half of it. `model_ends_at`: what
    follows the model in its column. `currency`: the column that names it. Days are UTC's but for the
    generic shape.
    """

    name: str
    title: str
    columns: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    provider: str = ""
    cost_unit_nano_usd: int = 0
    model_ends_at: str = ""
    currency: str = ""

    def found(self, header: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The columns of this shape that an export really has."""
        present = {field: tuple(c for c in names if c in header) for field, names in self.columns.items()}
        return {field: names for field, names in present.items() if names}


# https://platform.openai.com/docs/api-reference/usage/completions_object: the dashboard's export has the
# fields of the usage API, one row a bucket and group (export seen: https://github.com/xavierjflanagan/Guardian,
# "OpenAI Usage and Cost Report"). `input_tokens` includes what was cached; counts are written as `59200.0`.
OPENAI_USAGE = Shape(
    name="openai-usage",
    title="OpenAI, Usage, export of completions or embeddings",
    provider="openai",
    required=("start_time", "num_model_requests", "model", "input_tokens"),
    columns={
        "day": ("start_time",),
        "model": ("model",),
        "key": ("api_key_id",),
        "calls": ("num_model_requests",),
        "input": ("input_tokens",),
        "cache_read": ("input_cached_tokens",),
        "cache_write": ("input_cache_write_tokens",),
        "output": ("output_tokens",),
    },
)
# https://platform.openai.com/docs/api-reference/usage/costs_object, with `amount` as two columns (same export).
# A line item is a model and a token class (`gpt-4o-2024-08-06, input`), or another service's name.
OPENAI_COSTS = Shape(
    name="openai-costs",
    title="OpenAI, Usage, export of costs",
    provider="openai",
    required=("start_time", "amount_value", "amount_currency"),
    columns={"day": ("start_time",), "model": ("line_item",), "key": ("api_key_id",), "cost": ("amount_value",)},
    model_ends_at=", ",
    currency="amount_currency",
)
# https://support.claude.com/en/articles/9534590-cost-and-usage-reporting-in-the-claude-console; columns as in
# https://github.com/axigatelabs/axigate-finops. Input classes are counted apart; requests are not counted.
ANTHROPIC_USAGE = Shape(
    name="anthropic-usage",
    title="Claude Console, Usage, export",
    provider="anthropic",
    required=("usage_date_utc", "model_version", "usage_input_tokens_no_cache", "usage_output_tokens"),
    columns={
        "day": ("usage_date_utc",),
        "model": ("model_version",),
        "key": ("api_key",),
        "input": (
            "usage_input_tokens_no_cache",
            "usage_input_tokens_cache_write",
            "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h",
            "usage_input_tokens_cache_read",
        ),
        "cache_read": ("usage_input_tokens_cache_read",),
        "cache_write": (
            "usage_input_tokens_cache_write",
            "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h",
        ),
        "output": ("usage_output_tokens",),
    },
)
# The same page's cost export: one row a day, model, key and token class, in whole cents; models have
# their display names (`Claude Haiku 4.5`).
ANTHROPIC_COSTS = Shape(
    name="anthropic-costs",
    title="Claude Console, Cost, export",
    provider="anthropic",
    required=("usage_date_utc", "model", "token_type", "cost_usd"),
    columns={"day": ("usage_date_utc",), "model": ("model",), "key": ("api_key",), "cost": ("cost_usd",)},
    cost_unit_nano_usd=10_000_000,
)
GENERIC = Shape(
    name="generic",
    title="any export; --map says which column is what",
    required=("day",),
    columns={field: (field,) for field in FIELDS},
)

SHAPES: tuple[Shape, ...] = (OPENAI_USAGE, OPENAI_COSTS, ANTHROPIC_USAGE, ANTHROPIC_COSTS, GENERIC)


def mapped(columns: Mapping[str, str], provider: str) -> Shape:
    """The generic shape with the columns a person named, `A+B` added up; raises `ConfigError` for other fields."""
    for field in columns:
        if field not in FIELDS:
            raise ConfigError(
                f"--map has no {field!r}.", fix=f"{nearest(field, FIELDS)} Known: {', '.join(FIELDS)}.".strip()
            )
    named = {field: tuple(part.strip() for part in text.split("+")) for field, text in columns.items()}
    required = [column for names in ({"day": ("day",)} | named).values() for column in names]
    return msgspec.structs.replace(
        GENERIC, columns={**GENERIC.columns, **named}, required=tuple(required), provider=provider
    )


def recognise(header: Sequence[str]) -> Shape:
    """The shape an export has; raises `ConfigError` that says what each shape misses."""
    for shape in SHAPES:
        if not missing(shape, header):
            return shape
    lacks = "; ".join(f"{shape.name} also needs {', '.join(missing(shape, header))}" for shape in SHAPES)
    raise ConfigError(
        f"The columns {', '.join(header[:30])} are of no known export.",
        fix=f"{lacks}. Say which column is what: --map day=…,model=…,cost=….",
    )


def missing(shape: Shape, header: Sequence[str]) -> list[str]:
    """Required columns an export lacks."""
    return [column for column in shape.required if column not in header]
