"""Rows seen before are dropped and counted; a known id with other content is kept as a finding.

A row's key is a 128-bit keyed hash of (tenant, signal, trace id, span id), or of a log record's whole
content; a second 64-bit hash covers what the row says. The window is bounded in keys: two
generations, the older forgotten when the newer is full. A booking's keys are committed with it
(`blob`) and remembered only then, so that a booking that failed can be made again and a restart knows
exactly what was booked.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, Words, numpy_of, stirred
from collector.dialects.dialect import TOKEN_COLUMNS

_KEY_BYTES = 16
_ITEM_BYTES = 24
_LANES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_CONTENT_COLUMNS = ("start_time", "end_time", "status", *TOKEN_COLUMNS)
# What else a call is billed and attributed by; few distinct values each but for the id.
_CONTENT_TEXTS = ("operation", "provider", "request_model", "response_model", "service_tier", "claimed_agent")
_ID_WORDS = 8


class Verdicts(NamedTuple):
    """For each row: keep it, or drop it as an exact repeat; `conflict` marks kept rows whose id is taken."""

    keep: Bools
    conflict: Bools
    keys: Words
    content: Words


def blob(verdicts: Verdicts) -> bytes:
    """The keys of a booking's rows that own their id, as committed with it: 24 bytes a row."""
    new = verdicts.keep & ~verdicts.conflict
    return np.column_stack([verdicts.keys[new], verdicts.content[new]]).astype(np.uint64).tobytes()


class DedupeWindow:
    """The keys of what was booked. Owned by the booker thread.

    `secret` keys the hash, so that nobody outside can make two rows collide.
    """

    def __init__(self, *, max_keys: int, secret: bytes) -> None:
        self._max_generation = max(1, max_keys // 2)
        self._secret = np.frombuffer(secret[:16], np.uint64)
        self._newer: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def remember(self, blobs: list[bytes]) -> None:
        """Add the keys of committed bookings, oldest first."""
        for blob in blobs:
            items = np.frombuffer(blob, np.uint64).reshape(-1, _ITEM_BYTES // 8)
            self._newer.update(zip(_texts(items[:, :2]), items[:, 2].tolist(), strict=True))
            if len(self._newer) >= self._max_generation:
                self._older, self._newer = self._newer, {}

    def judge(self, rows: pa.Table) -> Verdicts:
        """Which rows are new. Rows repeated within the slab count as seen from their second time on."""
        keys, content = self._keys(rows), self._content(rows)
        if not len(keys):
            return Verdicts(np.zeros(0, np.bool_), np.zeros(0, np.bool_), keys, content)
        texts = _texts(keys)
        _, first = np.unique(keys.view("V16").reshape(-1), return_index=True)
        seen_here = np.ones(len(keys), np.bool_)
        seen_here[first] = False
        suspects = set(texts) & (self._newer.keys() | self._older.keys()) if len(self) else set()
        if not suspects and not seen_here.any():
            return Verdicts(np.ones(len(keys), np.bool_), np.zeros(len(keys), np.bool_), keys, content)
        return self._judge_repeats(keys, content, texts, suspects | {texts[i] for i in np.flatnonzero(seen_here)})

    def _judge_repeats(self, keys: Words, content: Words, texts: list[bytes], suspects: set[bytes]) -> Verdicts:
        """The slow path, over rows whose key was seen before only."""
        keep, conflict = np.ones(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
        known: dict[bytes, int] = {}
        for index in [i for i, text in enumerate(texts) if text in suspects]:
            text, says = texts[index], int(content[index])
            before = self._newer.get(text, self._older.get(text, known.get(text)))
            if before is None:
                known[text] = says
            elif before == says:
                keep[index] = False
            else:
                conflict[index] = True
        return Verdicts(keep, conflict, keys, content)

    def _keys(self, rows: pa.Table) -> Words:
        """Two lanes of 64 bits for each row."""
        owner = _text_words(pc.binary_join_element_wise(rows["org"], rows["tenant"], rows["signal"], "/"))
        ids = pc.binary_join_element_wise(
            pc.fill_null(rows["trace_id"], b""), pc.fill_null(rows["span_id"], b""), b"", null_handling="skip"
        )
        parts = _fixed_words(pc.coalesce(rows["content_key"], ids), 3)
        lanes = []
        for lane, secret in zip(_LANES, self._secret, strict=True):
            state = owner ^ secret
            for column in range(parts.shape[1]):
                state = stirred(state * lane ^ parts[:, column])
            lanes.append(state)
        return np.ascontiguousarray(np.column_stack(lanes)) if len(rows) else np.zeros((0, 2), np.uint64)

    def _content(self, rows: pa.Table) -> Words:
        state = np.full(len(rows), self._secret[0])
        for name in _CONTENT_COLUMNS:
            values = numpy_of(pc.fill_null(rows[name], -1))
            state = stirred(state * _LANES[0] ^ values.astype(np.int64).view(np.uint64))
        for name in _CONTENT_TEXTS:
            state = stirred(state * _LANES[0] ^ _text_words(pc.fill_null(rows[name], "")))
        words = _fixed_words(pc.cast(pc.fill_null(rows["response_id"], ""), pa.binary()), _ID_WORDS)
        for column in range(_ID_WORDS):
            state = stirred(state * _LANES[0] ^ words[:, column])
        return state


def _texts(keys: Words) -> list[bytes]:
    """Each 16-byte key as `bytes`, made in C."""
    return np.ascontiguousarray(keys).view(f"V{_KEY_BYTES}").reshape(-1).tolist() if len(keys) else []


def _fixed_words(column: pa.ChunkedArray, words: int) -> Words:
    """Byte strings of at most 8 × `words` bytes as rows of 64-bit words, zero-padded."""
    if not len(column):
        return np.zeros((0, words), np.uint64)
    values = np.array(column.combine_chunks().to_pylist(), dtype=f"S{words * 8}")
    return values.view(np.uint8).reshape(len(column), -1).view(np.uint64).reshape(len(column), words)


def _text_words(column: pa.ChunkedArray) -> Words:
    """A 64-bit hash of each text, computed once a distinct text."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    hashes = np.array([_hash_text(text) for text in encoded.dictionary.to_pylist()], np.uint64)
    indices = numpy_of(encoded.indices)
    return hashes[indices] if len(hashes) else np.zeros(0, np.uint64)


def _hash_text(text: str) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value
