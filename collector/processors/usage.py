"""Token counts as sent → token counts whose classes fit each other, and the name of what made them so.

Invariants: no count is negative; a part never exceeds the whole it is part of (input includes cache
and audio, output includes reasoning and audio, written to cache includes written for an hour); a
count nobody can mean is dropped and marked. What a count means for the account is left to `roles`.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, constant, mark, numpy_of, replaced
from collector.dialects.dialect import TOKEN_COLUMNS, Dialect
from collector.pricing.rate import MAX_TOKENS
from collector.processors.usage_document import UsageDocument, read_usage

AS_SENT = "as_sent"
CACHE_ADDED = "cache_added_to_input"
REASONING_ADDED = "reasoning_added_to_output"
BOTH_ADDED = "cache_and_reasoning_added"
USAGE_DOCUMENT = "usage_document"

_RULES = (AS_SENT, CACHE_ADDED, REASONING_ADDED, BOTH_ADDED, USAGE_DOCUMENT)

OUT_OF_RANGE = "token_count_out_of_range"
UNREADABLE = "usage_document_unreadable"
AUDIO_DROPPED = "audio_tokens_over_whole"

Ints = npt.NDArray[np.int64]


def settle(rows: pa.Table, dialect: Dialect | None, documents: list[pa.ChunkedArray]) -> pa.Table:
    """One dialect's rows with consistent counts and a `usage_rule`, which is null where there is no usage.

    `documents` are the columns of the dialect's usage objects.
    """
    if dialect is None:
        return rows.append_column("usage_rule", constant(None, len(rows)))
    counts = _Counts(rows)
    absurd = counts.drop_absurd()
    counts.fit(add_cache=dialect.input_excludes_cache, add_reasoning=dialect.output_excludes_reasoning)
    unreadable = np.zeros(len(rows), np.bool_)
    for column in documents:
        if column.null_count < len(rows):
            unreadable |= counts.fill(column)
            counts.fit()
    audio = counts.drop_audio()
    rows = counts.written(rows)
    for where, finding in ((absurd, OUT_OF_RANGE), (unreadable, UNREADABLE), (audio, AUDIO_DROPPED)):
        rows = mark(rows, where, finding)
    return rows.append_column("usage_rule", counts.rule())


class _Counts:
    """The token columns of some rows while they are settled. A count that is not known is zero here."""

    def __init__(self, rows: pa.Table) -> None:
        self._size = len(rows)
        self._known: dict[str, Bools] = {}
        self._values: dict[str, Ints] = {}
        for name in TOKEN_COLUMNS:
            self._read(name, rows[name])
        self._changed: set[str] = set()
        self._cache_added, self._reasoning_added, self._filled = self._nowhere(), self._nowhere(), self._nowhere()

    def drop_absurd(self) -> Bools:
        """Forget all counts of rows that have one too large to be meant; those rows."""
        absurd = self._nowhere()
        for values in self._values.values():
            absurd |= values > MAX_TOKENS
        if absurd.any():
            for name in TOKEN_COLUMNS:
                self._put(name, absurd, 0, known=False)
        return absurd

    def fit(self, *, add_cache: bool = False, add_reasoning: bool = False) -> None:
        """Add parts to their whole where the dialect counts them apart, or where they are more than the whole.

        The conventions make cached tokens part of the input and reasoning part of the output; a part
        that is larger than its whole shows an emitter that does not.
        """
        values = self._values
        long, written = values["cache_write_1h_tokens"], values["cache_write_tokens"]
        self._put("cache_write_tokens", long > written, long)
        cached = values["cache_read_tokens"] + values["cache_write_tokens"]
        self._cache_added |= self._add("input_tokens", cached, everywhere=add_cache)
        self._reasoning_added |= self._add("output_tokens", values["reasoning_tokens"], everywhere=add_reasoning)

    def fill(self, column: pa.ChunkedArray) -> Bools:
        """Take from usage objects what is not known yet; the rows whose object could not be read whole."""
        encoded = column.combine_chunks().dictionary_encode()
        read = [read_usage(text) for text in encoded.dictionary.to_pylist()]
        read.append(UsageDocument({}, readable=True))
        which = numpy_of(pc.fill_null(encoded.indices, len(read) - 1))
        empty = ~np.logical_or.reduce([values > 0 for values in self._values.values()])
        more = empty & np.array([any(usage.counts.values()) for usage in read], np.bool_)[which]
        for name in TOKEN_COLUMNS:
            given = np.array([name in usage.counts for usage in read], np.bool_)[which]
            fills = given & (more | ~self._known[name])
            if fills.any():
                self._put(name, fills, np.array([usage.counts.get(name, 0) for usage in read], np.int64)[which])
                self._filled |= fills
        unreadable: Bools = np.array([not usage.readable for usage in read], np.bool_)[which]
        return unreadable

    def drop_audio(self) -> Bools:
        """Forget audio that is more than the whole; those rows."""
        dropped = self._nowhere()
        for part, whole in (("input_audio_tokens", "input_tokens"), ("output_audio_tokens", "output_tokens")):
            over = self._values[part] > self._values[whole]
            self._put(part, over, 0, known=False)
            dropped |= over
        return dropped

    def written(self, rows: pa.Table) -> pa.Table:
        """The rows with these counts."""
        for name in self._changed:
            rows = replaced(rows, name, pa.array(self._values[name], pa.int64(), mask=~self._known[name]))
        return rows

    def rule(self) -> pa.Array:
        """What made the counts what they are; null where there is nothing to count."""
        counted = (self._values["input_tokens"] > 0) | (self._values["output_tokens"] > 0)
        number = np.where(self._filled, _RULES.index(USAGE_DOCUMENT), 0).astype(np.int8)
        number[self._cache_added] = _RULES.index(CACHE_ADDED)
        number[self._reasoning_added] = _RULES.index(REASONING_ADDED)
        number[self._cache_added & self._reasoning_added] = _RULES.index(BOTH_ADDED)
        return pa.array(_RULES, pa.string()).take(pa.array(number, mask=~counted))

    def _read(self, name: str, column: pa.ChunkedArray) -> None:
        if column.null_count == self._size:
            self._known[name], self._values[name] = self._nowhere(), np.zeros(self._size, np.int64)
        else:
            self._known[name] = numpy_of(pc.is_valid(column))
            self._values[name] = numpy_of(pc.fill_null(column, 0)).astype(np.int64, copy=False)

    def _add(self, whole: str, part: Ints, *, everywhere: bool) -> Bools:
        where = part > 0 if everywhere else part > self._values[whole]
        self._put(whole, where, self._values[whole] + part)
        return where

    def _put(self, name: str, where: Bools, value: Ints | int, *, known: bool = True) -> None:
        if where.any():
            self._changed.add(name)
            self._values[name] = np.where(where, value, self._values[name])
            self._known[name] = np.where(where, known, self._known[name])

    def _nowhere(self) -> Bools:
        return np.zeros(self._size, np.bool_)
