"""Points of metrics in, what they tell of the tokens of each emitter out, beside what its calls tell.

Invariants: what a metric tells is never added to what calls tell, only compared; it stands in one
row, so that every sum over rows is right; it does not depend on the order or the repetition of
points. A cumulative series counts by what it grew, each start apart (OTLP data model, "Resets and
gaps"); one that began before the asked period by what it grew within it. An emitter that counts the
same tokens by several metrics is believed the largest.
"""

import polars as pl

from analytics.measures import IS_CALL, sum_of_known
from analytics.query import Query
from schemas.tables import EntryKind

TOKENS = ("input_tokens", "output_tokens")
TOLD = "_told"
"""Input tokens of an emitter's records of calls, counted or not: merging is no matter of what it tells."""
TOLD_INPUT = pl.when(IS_CALL).then(pl.col("input_tokens").fill_null(0)).otherwise(0).sum().cast(pl.Int64).alias(TOLD)
KEY_AGENT = (
    pl.when(pl.col("attribution_source").eq_missing("credential")).then(pl.col("agent")).otherwise(None).alias("_key")
)
"""The agent that a key names: all of its telemetry is known to be its own. Metrics name no agent otherwise."""
SERVICE = ("org", "tenant", "_key", "service_name")

# A hundredth: the ends of a period cut calls and metrics at different moments.
_WORTH_A_WORD = 100
_COLUMNS = tuple(f"metric_{name}" for name in TOKENS)


def with_metrics(emitters: pl.LazyFrame, entries: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """The emitters with `metric_input_tokens`, `metric_output_tokens` and `untold`.

    `emitters` has one row for each agent, emitter, version and dialect of a `SERVICE`, with `TOLD`.
    `untold` is what the metrics tell of input beyond the records of calls where it is more than a hundredth
    of that, else 0. A metric whose emitter
    has records in its service stands beside them, and is compared with them; any other stands beside
    those without metrics, and is compared with the whole service. Where there are several rows it stands
    in the one that tells of most; where there is none in a row of its own.
    """
    metrics = _by_emitter(entries, query)
    names = [*SERVICE, "emitter"]
    own = metrics.join(emitters.select(names).unique(), on=names, how="semi", nulls_equal=True)
    other = metrics.join(own, on=names, how="anti", nulls_equal=True)
    rows = emitters.join(own.select(*names, pl.lit(True).alias("_own")), on=names, how="left", nulls_equal=True)
    rows = rows.with_columns(pl.col("_own").fill_null(value=False)).with_columns(
        pl.when("_own").then("emitter").alias("_place"),
        pl.when("_own")
        .then(pl.col(TOLD).sum().over(names))
        .otherwise(pl.col(TOLD).sum().over(SERVICE))
        .alias("_known"),
    )
    place = [*SERVICE, "_own", "_place"]
    # Equals are told apart by their names, so that the same ledger has the same rows.
    order = [*names, "agent", "version", "dialect"]
    rows = rows.sort(pl.col(TOLD), *order, descending=[True, *(False for _ in order)], nulls_last=True)
    rows = rows.with_columns((pl.int_range(pl.len()).over(place) == 0).alias("_carries"))
    pooled = other.group_by(SERVICE).agg(pl.col(_COLUMNS).max())
    told = pl.concat(
        [
            own.select(*SERVICE, pl.lit(True).alias("_own"), pl.col("emitter").alias("_place"), *_COLUMNS),
            pooled.select(*SERVICE, pl.lit(False).alias("_own"), pl.lit(None, pl.String).alias("_place"), *_COLUMNS),
        ]
    ).with_columns(pl.lit(True).alias("_carries"))
    seen = rows.join(told, on=[*place, "_carries"], how="left", nulls_equal=True)
    alone = other.join(rows.filter(~pl.col("_own")), on=SERVICE, how="anti", nulls_equal=True)
    services = emitters.group_by(SERVICE).agg(pl.col(TOLD).sum().alias("_known"))
    alone = alone.join(services, on=SERVICE, how="left", nulls_equal=True)
    known = pl.col("_known").fill_null(0)
    untold = pl.col("metric_input_tokens").fill_null(0) - known
    return pl.concat([seen, alone], how="diagonal").with_columns(
        pl.when(untold * _WORTH_A_WORD > known).then(untold).otherwise(0).alias("untold")
    )


def _by_emitter(entries: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """What the metrics of each emitter in each service tell of."""
    points = entries.filter(pl.col("kind") == EntryKind.METRIC).with_columns(KEY_AGENT)
    if "agent" in query.where:
        # Without a key of its own an agent shares its service's metrics with others.
        points = points.filter(pl.col("_key").is_not_null())
    metric = [*SERVICE, "scope_name", "span_name"]
    delta = pl.col("temporality") == "delta"
    series = points.group_by(
        *metric, "temporality", pl.when(~delta).then("series_id"), pl.when(~delta).then("series_start")
    ).agg(
        *(sum_of_known(pl.col(name)).alias(f"sum_{name}") for name in TOKENS),
        pl.col(TOKENS).max().name.prefix("last_"),
        pl.col(TOKENS).min().name.prefix("first_"),
        pl.col("agent").min(),
        pl.col("scope_version").max().alias("version"),
        pl.col("event_time").min().alias("_first"),
        pl.col("event_time").max().alias("_last"),
    )
    began_before = pl.col("series_start").is_null() | (pl.col("series_start") < (query.from_ns or 0))
    grown = (
        pl.when(delta)
        .then(pl.col(f"sum_{name}"))
        .otherwise(pl.col(f"last_{name}") - pl.when(began_before).then(pl.col(f"first_{name}")).otherwise(0))
        .alias(f"metric_{name}")
        for name in TOKENS
    )
    about = (pl.col("agent").min(), pl.col("version").max(), pl.col("_first").min(), pl.col("_last").max())
    by_metric = (
        series.with_columns(*grown)
        .group_by(metric)
        .agg(*(sum_of_known(pl.col(name)).alias(name) for name in _COLUMNS), *about)
    )
    return by_metric.group_by(*SERVICE, pl.col("scope_name").alias("emitter")).agg(pl.col(_COLUMNS).max(), *about)
