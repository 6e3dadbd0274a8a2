"""Rows of plain Python in, a provider's CSV export on disk out, with the columns the provider writes."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

DAY_S = 86_400
NOON_DAY_S = 1_795_478_400  # 2026-11-24T00:00:00Z

OPENAI_USAGE = (
    *("start_time", "end_time", "start_time_iso", "end_time_iso", "project_id", "num_model_requests", "user_id"),
    *("api_key_id", "model", "batch", "service_tier", "input_tokens", "output_tokens", "input_cached_tokens"),
    *("input_uncached_tokens", "input_audio_tokens", "output_audio_tokens"),
)
OPENAI_COSTS = (
    *("start_time", "end_time", "start_time_iso", "end_time_iso", "amount_value", "amount_currency", "line_item"),
    *("project_id", "organization_id", "organization_name"),
)
ANTHROPIC_USAGE = (
    *("usage_date_utc", "model_version", "api_key", "workspace", "usage_type", "context_window"),
    *("usage_input_tokens_no_cache", "usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h"),
    *("usage_input_tokens_cache_read", "usage_output_tokens", "web_search_count", "inference_geo", "speed"),
)
ANTHROPIC_COSTS = (
    *("usage_date_utc", "model", "workspace", "api_key", "usage_type", "context_window", "token_type", "cost_usd"),
    *("list_price_usd", "cost_type", "inference_geo", "speed", "api_key_id", "api_key_status"),
)


def export(path: Path, header: Iterable[str], *rows: Mapping[str, object]) -> Path:
    """An export as a spreadsheet would save it: with a BOM, CRLF, and empty cells for what is not said."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, tuple(header), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path
