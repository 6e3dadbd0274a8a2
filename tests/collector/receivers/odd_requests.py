"""A source of chance in, bytes of a traces request out, as odd as asked for."""

import struct
import time
from collections.abc import Sequence
from random import Random

from collector.dialects import DIALECTS
from collector.dialects.dialect import wanted_keys
from collector.receivers.content_id import SUFFIX
from collector.receivers.decode import AGENT_KEYS, HOST_KEYS, SERVICE_KEY

CONTENT = "content"
WANTED = {
    **wanted_keys(DIALECTS),
    "": str,
    "n": int,
    "a.key.of.more.than.sixty-four.bytes." + "x" * 60: str,
    CONTENT + SUFFIX: str,
}
OF_RESOURCES = (SERVICE_KEY, *AGENT_KEYS, HOST_KEYS[0], HOST_KEYS[-1], "app.customer", "größe", "x")
KEYS = (*WANTED, CONTENT, "server.address", "gen_ai.usage.input_token", *OF_RESOURCES)
COMPLETIONS = (
    '{"id": "resp_1", "output": []}',
    '{"choices": [{"id": "no"}], "id": "chatcmpl-1"}',
    r'"{\"id\": \"resp_2\"}"',
    '{"id": "cut", "output": [',
    '{"id": 5}',
    '["id"]',
    '{"id": ""}',
)
NOW_NS = time.time_ns()

CHANCES = (0, 0.001, 0.005, 0.02, 0.1)


class OddRequests:
    """Requests in which every decision may be the odd one, with the given chance; the form of the wire less often."""

    def __init__(self, random: Random, chance: float) -> None:
        self.random = random
        self.chance = chance

    def request(self) -> bytes:
        """One request."""
        return self.message([self.block(1, self.resource_spans()) for _ in range(self.random.randrange(1, 3))])

    def odd(self, weight: float = 1.0) -> bool:
        return self.random.random() < self.chance * weight

    def varint(self, value: int) -> bytes:
        out = bytearray()
        value &= 2**64 - 1
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
        if self.odd(0.1):
            out[-1] |= 0x80
            out += bytes([0x80] * self.random.randrange(9)) + bytes([self.random.choice((0, 0, 0, 1, 0x7F))])
        return bytes(out)

    def tag(self, number: int, wire_type: int) -> bytes:
        if self.odd(0.05):
            number = self.random.choice((0, 1, 2, 3, 15, 16, 17, 2**29 - 1, 2**29))
        if self.odd(0.05):
            wire_type = self.random.randrange(8)
        return self.varint(number << 3 | wire_type)

    def block(self, number: int, payload: bytes) -> bytes:
        size = len(payload) + (self.random.choice((-1, 1, 2**31, 2**32, 2**63)) if self.odd(0.03) else 0)
        return self.tag(number, 2) + self.varint(max(size, 0)) + payload

    def number(self, number: int, value: int) -> bytes:
        return self.tag(number, 0) + self.varint(value)

    def fixed(self, number: int, value: int) -> bytes:
        return self.tag(number, 1) + struct.pack("<Q", value)

    def text(self) -> bytes:
        choose = self.random.choice
        if self.odd(0.1):
            return choose(
                (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"abcdefg\x80", b"\xf8aaaa")
            )
        plain = choose(
            ("", "chat", "gpt-4o", "a" * 31, "über", "日本語のテキスト", "🙂", "\x00", "12", "0123456789abcde\u0301")
        )
        return (plain * self.random.choice((1, 1, 1, 3))).encode()

    def message(self, parts: Sequence[bytes]) -> bytes:
        """Fields in order; or else one is missing, doubled, unknown, or they are shuffled."""
        parts = list(parts)
        if parts and self.odd():
            parts.append(self.random.choice(parts))
        if parts and self.odd():
            del parts[self.random.randrange(len(parts))]
        if self.odd():
            parts.append(self.stranger())
        if self.odd():
            self.random.shuffle(parts)
        return b"".join(parts)

    def stranger(self) -> bytes:
        """A field nobody declared, in a form of each wire type."""
        number = self.random.choice((3, 13, 14, 17, 30, 100, 1000, 5000))
        form = self.random.randrange(6)
        if form == 0:
            return self.number(number, self.random.choice((0, 1, 300, -1)))
        if form == 1:
            return self.fixed(number, 7)
        if form == 2:
            return self.tag(number, 5) + b"\xff\x80\x01\x00"
        if form == 3:
            inside = b"" if self.odd() else self.stranger()
            return self.tag(number, 3) + inside + self.tag(number, 4)
        return self.block(number, self.text())

    def value(self, depth: int = 0) -> bytes:
        form = self.random.randrange(9 if depth < 4 else 6)
        if form < 2:
            parts = [self.block(1, self.text())]
        elif form == 2:
            parts = [self.number(2, self.random.randrange(2))]
        elif form == 3:
            parts = [self.number(3, self.random.choice((0, 1, 127, 300, 2**40, 2**63 - 1, -1, -(2**63))))]
        elif form == 4:
            parts = [self.tag(4, 1) + struct.pack("<d", self.random.choice((0.0, 7.0, 0.5, 1e300, float("inf"))))]
        elif form == 5:
            parts = [self.block(7, b"\x00\xff") if self.odd() else b""]
        elif form == 6:
            inside = [self.block(1, self.value(depth + 1)) for _ in range(self.random.randrange(3))]
            parts = [self.block(5, self.message(inside))]
        else:
            inside = [self.block(1, self.entry(depth + 1)) for _ in range(self.random.randrange(3))]
            parts = [self.block(6, self.message(inside))]
        if self.odd():
            parts.append(self.value(depth + 1) if depth < 4 else b"")
        return self.message(parts)

    def entry(self, depth: int = 0, *, key: str | None = None) -> bytes:
        key = self.random.choice(KEYS) if key is None else key
        kind = WANTED.get(key)
        name = self.text() if self.odd() else key.encode()
        if kind is int and not self.odd():
            value = self.number(3, self.random.randrange(2**20))
        elif kind is str and self.random.random() < 0.05:
            value = self.random.choice((self.number(3, 7), self.tag(4, 1) + struct.pack("<d", 3.555e-05)))
        elif key == CONTENT and not self.odd():
            value = self.block(1, self.random.choice(COMPLETIONS).encode())
        elif (kind is str or key in OF_RESOURCES[:3]) and not self.odd():
            value = self.block(1, self.text())
        else:
            value = self.value(depth)
        return self.message([self.block(1, name), self.block(2, value)])

    def identity(self, size: int) -> bytes:
        if self.odd():
            return self.random.choice(
                (b"", bytes(size), self.random.randbytes(size - 1), self.random.randbytes(size + 1))
            )
        return self.random.randbytes(size)

    def time(self) -> int:
        if self.odd():
            return self.random.choice((0, 1, NOW_NS + 10**12, 2**63 - 1, 2**63, 2**64 - 1))
        return NOW_NS - self.random.randrange(10**12)

    def span(self) -> bytes:
        keys = self.random.sample(KEYS, self.random.randrange(8))
        parts = [
            self.block(1, self.identity(16)),
            self.block(2, self.identity(8)),
            *([self.block(4, self.random.randbytes(8))] if self.random.random() < 0.5 else []),
            self.block(5, self.text()),
            self.number(6, self.random.choice((0, 1, 3, -1, 2**32 + 5) if self.odd() else (1, 2, 3))),
            self.fixed(7, self.time()),
            self.fixed(8, self.time()),
            *(self.block(9, self.entry(key=key)) for key in keys),
            *([self.stranger()] if self.random.random() < 0.1 and self.chance else []),
            *([self.block(15, self.status())] if self.random.random() < 0.5 else []),
        ]
        return self.message(parts)

    def status(self) -> bytes:
        code = self.random.choice((0, 1, 2, -1, 2**31) if self.odd() else (0, 1, 2))
        return self.message([self.block(2, self.text()), self.number(3, code)])

    def scope(self) -> bytes:
        return self.message([self.block(1, self.text()), self.block(2, self.text()), self.block(3, self.entry())])

    def scope_spans(self) -> bytes:
        spans = [self.block(2, self.span()) for _ in range(self.random.randrange(3))]
        return self.message([self.block(1, self.scope()), *spans, self.block(3, self.text())])

    def resource(self) -> bytes:
        keys = self.random.sample(OF_RESOURCES, 3)
        return self.message([*(self.block(1, self.entry(key=key)) for key in keys), self.number(2, 0)])

    def resource_spans(self) -> bytes:
        scopes = [self.block(2, self.scope_spans()) for _ in range(self.random.randrange(1, 3))]
        return self.message([self.block(1, self.resource()), *scopes, self.block(3, self.text())])


def damage(random: Random, body: bytearray) -> None:
    """Flip a bit, set a byte, lose some, repeat some, put some in, or lose the end."""
    if not body:
        return
    at = random.randrange(len(body))
    match random.randrange(12):
        case 0:
            del body[at:]
        case 1 | 2:
            del body[at : at + random.choice((1, 1, 2, 9))]
        case 3:
            body[at:at] = body[at : at + random.randrange(20)]
        case 4 | 5:
            body[at:at] = random.choice(
                (random.randbytes(2), b"\x80", b"\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
            )
        case 6 | 7 | 8:
            body[at] ^= 1 << random.randrange(8)
        case _:
            body[at] = random.randrange(256)
