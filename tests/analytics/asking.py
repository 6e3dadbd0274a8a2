"""A question about a ledger in, its answer out, in any format, as `spanward report` would give it."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec

from analytics.answer import Answer, ask
from analytics.formats import FORMATS
from analytics.formats.destination import Destination
from analytics.query import Query
from analytics.report import Report
from analytics.reports import REPORTS


def report(name: str) -> Report:
    return next(report for report in REPORTS if report.name == name)


def answer(data_dir: Path, name: str, **query: object) -> Answer:
    chosen = report(name)
    return ask(chosen, data_dir, chosen.check(msgspec.convert(query, Query)))


def written(answer: Answer, format_name: str, *, width: int | None = None) -> bytes:
    return written_with_notes(answer, format_name, width=width)[0]


def written_with_notes(answer: Answer, format_name: str, *, width: int | None = None) -> tuple[bytes, str]:
    data, notes = io.BytesIO(), io.StringIO()
    FORMATS[format_name](answer, Destination(data=data, notes=notes, width=width))
    return data.getvalue(), notes.getvalue()


def rows(data_dir: Path, name: str, **query: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(written(answer(data_dir, name, **query), "json"))["rows"]
    return found
