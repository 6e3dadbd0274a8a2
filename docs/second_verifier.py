"""A folder with a ledger and a root public key in, what is wrong with it out; nothing of Spanward's code inside.

    python second_verifier.py FOLDER ROOT.vkey [KEPT-CHECKPOINT]

Written from collector/ledger/README.md, to check the product's own verifier. It needs pyarrow and cryptography.
FOLDER holds `ledger/v1`: a data directory's `store`, or a copy of a bucket. Exit 0 intact, 1 findings, 2 not
readable. Versions, delete markers and retention are the bucket's to tell, and are not looked at here.
"""

import base64
import hashlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = "ledger/v1"
SECOND = 10**9
SKEW, GRACE = 300 * SECOND, 120 * SECOND
SCHEMA = re.compile(rb'\[(?:\["(?:[^"\\]|\\.)*","(?:string|int64|bool)"\](?:,(?=\[)|(?=\]$)))*\]')

TEXT, WHOLE, SEVERAL = str, int, list
SEGMENT = dict(
    v=TEXT, origin=TEXT, k=WHOLE, seq=SEVERAL, rows=WHOLE, records_root=TEXT, schema=TEXT, received=SEVERAL, prev=TEXT,
    event_time=SEVERAL, objects=SEVERAL, sealed_at=WHOLE, retain_until=WHOLE, cut=TEXT,
)  # fmt: skip
ANCHOR = dict(v=TEXT, origin=TEXT, n=WHOLE, at=WHOLE, heads=SEVERAL, trust=SEVERAL, prev=TEXT)
TRUST = dict(v=TEXT, deployment=TEXT, n=WHOLE, at=WHOLE, root=TEXT, keys=SEVERAL, prev=TEXT)

sha = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731 - one line is enough
node = lambda left, right: hashlib.sha256(b"\1" + left + right).digest()  # noqa: E731


def need(condition: object, why: str) -> None:
    if not condition:
        raise ValueError(why)


def document(raw: bytes, *shapes: dict[str, type]) -> dict:
    """Canonical JSON with exactly the members of one of the shapes."""
    value = json.loads(raw)
    again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    need(again.encode() == raw, "not canonical")
    need({name: type(member) for name, member in value.items()} in shapes, "other members than it must have")
    return value


class Tree:
    """RFC 6962, as a stack of (height, hash) of full subtrees."""

    def __init__(self) -> None:
        self.stack: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        height = 0
        while self.stack and self.stack[-1][0] == height:
            leaf = node(self.stack.pop()[1], leaf)
            height += 1
        self.stack.append((height, leaf))

    def root(self) -> bytes:
        top = None
        for _, each in reversed(self.stack):
            top = each if top is None else node(each, top)
        return top or hashlib.sha256(b"").digest()


def decoded(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 in another spelling")
    return raw


def key_of(vkey: str) -> tuple[str, bytes, bytes]:
    """Name, four bytes of hash, public key."""
    parts = vkey.split("+", 2)
    need(len(parts) == 3, "no vkey")
    raw = decoded(parts[2])
    short = hashlib.sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
    need(len(raw) == 33 and raw[0] == 1 and short.hex() == parts[1], "no vkey of Ed25519")
    return parts[0], short, raw[1:]


def opened(note: bytes, vkeys: list[str]) -> str:
    """The text of a note with one signature, by one of the keys."""
    match = re.fullmatch(r"((?:.*\n)+)\n— (\S+) (\S+)\n", note.decode())
    need(match, "no signed note")
    text, name, signature = match[1], match[2], decoded(match[3])
    for known, short, public in map(key_of, vkeys):
        if (known, short) == (name, signature[:4]):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature[4:], text.encode())
            except (InvalidSignature, ValueError):
                break
            return text
    raise ValueError("no known key signed it")


def text_of(value: object) -> bytes:
    if value is None:
        return b"-,"
    if isinstance(value, bool):
        value = int(value)
    need(isinstance(value, int | str), "a value without exact text")
    raw = str(value).encode()
    return b"%d:%s," % (len(raw), raw)


def rows_of(data: bytes) -> tuple[str, str, list[int], list[int], list[int]]:
    """Schema id, records root, seq, received, event_time: first and last of each."""
    try:
        table = pq.read_table(io.BytesIO(data))
        columns = [[field.name, str(field.type)] for field in table.schema]
        schema = sha(json.dumps(columns, separators=(",", ":")).encode())
        values = [table.column(at).to_pylist() for at in range(table.num_columns)]
        tree = Tree()
        for row in zip(*values, strict=True):
            raw = b"".join(map(text_of, (schema, *row)))
            tree.add(hashlib.sha256(b"\0" + raw).digest())
        by_name = dict(zip(table.column_names, values, strict=True))
        seq = by_name["seq"]
        need(seq and seq == list(range(seq[0], seq[0] + len(seq))), "seq is not dense")
        need({kind for _, kind in columns} <= {"string", "int64", "bool"}, "a type that has no place here")
        spans = [[min(by_name[name]), max(by_name[name])] for name in ("received_time", "event_time")]
    except Exception as error:  # whatever a hostile file makes the reader raise
        raise ValueError(f"unreadable: {error!r}") from None
    return schema, tree.root().hex(), [seq[0], seq[-1]], *spans


class Ledger:
    """Objects by name, and everything that is found wrong with them."""

    def __init__(self, objects: Mapping[str, bytes], root: str, now: int) -> None:
        self.objects, self.root, self.now = objects, root, now
        self.findings: list[str] = []
        self.used: set[str] = set()
        self.heads: dict[str, list[str]] = {}

    def get(self, name: str) -> bytes | None:
        self.used.add(name)
        return self.objects.get(name)

    def check(self, condition: object, name: str, why: str) -> None:
        if not condition:
            self.findings.append(f"{name}: {why}")

    def signed(self, name: str, note: bytes, vkeys: list[str], text: str) -> None:
        try:
            self.check(opened(note, vkeys) == text, name, "it signs another history")
        except ValueError as error:
            self.findings.append(f"{name}: {error}")

    def trust(self) -> tuple[dict, list[str]]:
        newest, hashes, signer = None, [], self.root
        while (note := self.get(f"{P}/trust/{len(hashes):012d}")) is not None:
            line = opened(note, [signer])
            new = document(line.removesuffix("\n").encode(), TRUST)
            need(new["v"] == "spanward.trust/1" and new["n"] == len(hashes), "another place in the chain")
            need(new["prev"] == (hashes[-1] if hashes else ""), "it does not continue the chain")
            need(new["at"] > (newest["at"] if newest else 0), "older than the one before")
            need(key_of(signer)[0] == f"{new['deployment']}/root", "of another deployment")
            for key in new["keys"]:
                need(key.keys() == {"log", "vkey", "since", "until"}, "no key")
                need(key_of(key["vkey"])[0] == f"{new['deployment']}/{key['log']}", "a key of another log")
            newest, signer = new, new["root"]
            hashes.append(sha(note))
        need(newest, "there is no trust chain")
        return newest, hashes

    def log(self, trust: dict, name: str, shapes: list[dict]) -> Iterator[tuple[str, dict, bytes]]:
        """The entries of a log that can be followed; their checkpoints are judged on the way."""
        folder = f"{P}/anchor" if name == "anchor" else f"{P}/log/{name}"
        origin, tree, prev = f"{trust['deployment']}/{name}", Tree(), ""
        last = max((n for n in self.objects if n.startswith(f"{folder}/entry/")), default="")
        heads = self.heads.setdefault(origin, [])
        for k in range(len(self.objects) + 1):
            key = f"{folder}/entry/{k:012d}"
            raw = self.get(key)
            if raw is None:
                break
            entry = document(raw, *shapes)
            need(entry["origin"] == origin and entry.get("k", entry.get("n")) == k, f"{key}: of another place")
            need(entry["prev"] == prev, f"{key}: the chain is broken")
            tree.add(hashlib.sha256(b"\0" + raw).digest())
            heads.append(f"{origin}\n{k + 1}\n{base64.b64encode(tree.root()).decode()}\n")
            mark = f"{folder}/checkpoint/{k + 1:012d}"
            note = self.get(mark)
            age = self.now - entry.get("committed_at", entry.get("at", entry.get("sealed_at")))
            if note is not None or key != last or age > GRACE:
                mine = [each for each in trust["keys"] if each["log"] == name]
                keys = [each["vkey"] for each in mine if each["since"] <= k + 1 <= (each["until"] or k + 1)]
                self.signed(mark, note or b"", keys, heads[-1])
            yield key, entry, raw
            prev = sha(raw)

    def writer(self, trust: dict, name: str) -> list[tuple[int, str]]:
        """Commit time and digest of every segment."""
        seq, before, segments = 0, {"sealed_at": -1, "at": -1}, []
        for key, entry, raw in self.log(trust, name, [SEGMENT, {**SEGMENT, "committed_at": WHOLE}]):
            version = 2 if "committed_at" in entry else 1
            at = entry.get("committed_at", entry["sealed_at"])
            need(entry["v"] == f"spanward.segment/{version}", f"{key}: another version")
            ranges = [entry[name] for name in ("seq", "received", "event_time")]
            need(all(len(pair) == 2 and set(map(type, pair)) == {int} for pair in ranges), f"{key}: no ranges")
            need(entry["seq"][0] == seq and entry["seq"][1] - seq + 1 == entry["rows"] >= 1, f"{key}: rows are missing")
            self.check(entry["sealed_at"] <= at <= self.now + SKEW, key, "times that had not come")
            self.check(entry["received"][1] <= at + SKEW, key, "rows from the future")
            rising = at > before["at"] and entry["sealed_at"] > before["sealed_at"]
            self.check(rising, key, "older than the entry before it")
            schema = self.get(f"{P}/schema/{entry['schema']}.json")
            self.check(schema is not None and sha(schema) == entry["schema"], key, "its schema is missing or altered")
            self.data(key, name, entry)
            segments.append((at, sha(raw)))
            seq, before = entry["seq"][1] + 1, {**entry, "at": at}
        return segments

    def data(self, key: str, name: str, entry: dict) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime(entry["sealed_at"] // SECOND))
        events = f"{P}/events/date={day}/writer={name}/{entry['k']:012d}.parquet"
        named = [each.get("key") for each in entry["objects"] if each.get("role") == "events"]
        need(named == [events], f"{key}: it names other data")
        for each in entry["objects"]:
            data = self.get(each["key"])
            if data is None:
                self.check(self.now >= entry["retain_until"], each["key"], "gone before its time")
                continue
            need((len(data), sha(data)) == (each["bytes"], each["sha256"]), f"{each['key']}: its bytes differ")
            said = [entry[m] for m in ("schema", "records_root", "seq", "received", "event_time")]
            need(list(rows_of(data)) == said, f"{each['key']}: its rows differ")

    def anchor(self, trust: dict, hashes: list[str], logs: dict[str, list[tuple[int, str]]]) -> None:
        at, seen = 0, dict.fromkeys(logs, 0)
        for key, entry, _ in self.log(trust, "anchor", [ANCHOR]):
            need(entry["v"] == "spanward.anchor/1", f"{key}: another version")
            self.check(at < entry["at"] <= self.now + SKEW, key, "a time that cannot be")
            self.check(entry["trust"] in [[n, saw] for n, saw in enumerate(hashes)], key, "it saw another trust chain")
            sizes = {head["writer"]: head["size"] for head in entry["heads"]}
            need([head["writer"] for head in entry["heads"]] == sorted(sizes), f"{key}: heads out of order")
            for writer in {*seen, *sizes}:
                new = logs.get(writer, [])
                self.check(seen.get(writer, 0) <= sizes.get(writer, 0) <= len(new), key, f"{writer} shrank")
                for committed, _ in new[seen.get(writer, 0) : sizes.get(writer, 0)]:
                    self.check(at - SKEW <= committed <= entry["at"] + SKEW, key, f"{writer} is dated otherwise")
            for head in entry["heads"]:
                there = logs.get(head["writer"], [])[: head["size"]]
                self.check(there and there[-1][1] == head["entry"], key, f"it saw another {head['writer']}")
            at, seen = entry["at"], {**seen, **sizes}
        self.check(at or self.now - trust["at"] <= GRACE, f"{P}/anchor/", "there is no anchor")
        for writer, segments in logs.items():
            for committed, _ in segments[seen.get(writer, 0) :]:
                self.check(self.now - committed <= GRACE, writer, "a segment that no anchor saw")


def verify(objects: Mapping[str, bytes], root: str, now: int, kept: str = "") -> list[str]:
    """What is wrong; `kept` is the text of a checkpoint from an earlier time."""
    ledger = Ledger(objects, root, now)
    try:
        trust, hashes = ledger.trust()
        logs = {key["log"]: ledger.writer(trust, key["log"]) for key in trust["keys"] if key["log"] != "anchor"}
        ledger.anchor(trust, hashes, logs)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        return [*ledger.findings, f"cannot be followed further: {error!r}"]
    ledger.check(not kept or any(kept in heads for heads in ledger.heads.values()), P, "not what you kept")
    live = [key["log"] for key in trust["keys"] if key["until"] is None and key["log"] in logs]
    live = [f"writer={name}/{len(logs[name]):012d}." for name in live]
    for name in sorted(set(objects) - ledger.used):
        on_its_way = re.sub(f"{P}/events/date=.{{10}}/|parquet$", "", name) in live
        named_by_hash = name == f"{P}/schema/{sha(objects.get(name))}.json"
        ledger.check(on_its_way or (named_by_hash and SCHEMA.fullmatch(objects.get(name))), name, "nothing names it")
    return ledger.findings


class Folder(dict):
    """The files below a folder by name, read when asked for; a link counts as empty."""

    def __init__(self, root: Path) -> None:
        everything = (Path(folder, name) for folder, _, names in os.walk(root / P) for name in names)
        super().__init__({str(path.relative_to(root)): path for path in everything if path.name[:5] != ".tmp-"})

    def get(self, name: str) -> bytes | None:
        path = super().get(name)
        return path and (b"" if path.is_symlink() else path.read_bytes())


if __name__ == "__main__":
    try:
        vkey = Path(sys.argv[2]).read_text().strip()
        old = Path(sys.argv[3]).read_text().rpartition("\n\n")[0] + "\n" if len(sys.argv) > 3 else ""
        wrong = verify(Folder(Path(sys.argv[1])), vkey, time.time_ns(), old)
    except (OSError, IndexError) as error:
        sys.exit(print(f"not readable: {error!r}", file=sys.stderr) or 2)
    sys.exit(print("\n".join(wrong) or "intact") or bool(wrong))
