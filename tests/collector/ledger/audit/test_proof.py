"""One row proven from one file, offline; nothing proven from a file that was touched."""

import base64
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from collector.ledger import layout
from collector.ledger.audit.export import export_tlog
from collector.ledger.audit.proof import Proof, check, prove
from collector.ledger.note import Vkey, parse_vkey
from collector.ledger.rows import netstrings
from collector.ledger.tree import leaf_hash, root
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from schemas.errors import Permanent
from tests.collector.ledger.audit.forger import Honest
from tests.collector.ledger.memory_store import MemoryStore
from tests.collector.ledger.samples import DEPLOYMENT, SECOND_NS, Clock


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return Honest(tmp_path_factory.mktemp("honest"))


@pytest.fixture
def key(honest: Honest) -> Vkey:
    return parse_vkey(honest.root)


def test_a_row_is_proven_by_its_id_or_its_number_and_nothing_of_its_neighbours_is_revealed(
    honest: Honest, key: Vkey
) -> None:
    proof = prove(honest.store, "one-7-0")
    proven = check(proof, key)
    assert (proven.row["entry_id"], proven.row["kind"], proven.entry.k, proven.size) == ("one-7-0", "call", 7, 10)
    text = msgspec.json.encode(proof).decode()
    assert not any(f"one-{number}-" in text for number in range(10) if number != 7)
    assert "one-7-1" not in text
    assert check(prove(honest.store, f"{proven.entry.writer}:{proof.seq}"), key) == proven


def test_every_row_of_a_ledger_can_be_proven(honest: Honest, key: Vkey) -> None:
    for writer in honest.registers:
        for seq in range(20):
            assert check(prove(honest.store, f"{writer}:{seq}"), key).row["seq"] == str(seq)


@pytest.mark.parametrize("wanted", ["nobody", "w-00000000:1", "w-00000000:x", ":", ""])
def test_what_is_not_in_the_ledger_is_not_proven(honest: Honest, wanted: str) -> None:
    with pytest.raises(Permanent, match="No sealed segment holds"):
        prove(honest.store, wanted)


def test_no_altered_proof_holds(honest: Honest, key: Vkey) -> None:
    proof = prove(honest.store, "two-3-0")
    plain = msgspec.to_builtins(proof)
    chance = random.Random(3)
    for name, value in plain.items():
        for _ in range(40):
            changed = _changed(value, chance)
            if changed == value:
                continue
            try:
                altered = msgspec.convert({**plain, name: changed}, Proof)
            except msgspec.ValidationError:
                continue
            with pytest.raises(Permanent):
                check(altered, key)


def _changed(value: object, chance: random.Random) -> object:
    if isinstance(value, int):
        return value + chance.choice([-1, 1, 10**6])
    if isinstance(value, list):
        at = chance.randrange(len(value))
        return chance.choice(
            [value[:at] + value[at + 1 :], [*value, value[at]], [*value[:at], _changed(value[at], chance)]]
        )
    text = str(value)
    at = chance.randrange(len(text))
    return text[:at] + chance.choice("0aZ\n+-:,é") + text[at + 1 :]


def test_a_proof_of_another_root_key_does_not_hold(honest: Honest, tmp_path: Path) -> None:
    other = Honest(tmp_path)
    with pytest.raises(Permanent):
        check(prove(honest.store, "one-0-0"), parse_vkey(other.root))


@pytest.mark.parametrize("text", ["1", "1:", "1:a", "2:a,", "-", "x:a,", "99999999999:a,"])
def test_text_that_is_not_made_of_netstrings_is_refused(text: str) -> None:
    with pytest.raises(Permanent):
        netstrings(text)


def test_an_exported_log_is_the_c2sp_folder_of_its_entries(honest: Honest, tmp_path: Path) -> None:
    writer = next(iter(honest.registers))
    assert export_tlog(honest.store, writer, tmp_path) == 10
    entries = [honest.store.objects[layout.entry_key(writer, k)] for k in range(10)]
    hashes = (tmp_path / "tile" / "0" / "000.p" / "10").read_bytes()
    leaves = [hashes[at : at + 32] for at in range(0, 320, 32)]
    assert leaves == [leaf_hash(entry) for entry in entries]
    bundle = (tmp_path / "tile" / "entries" / "000.p" / "10").read_bytes()
    assert bundle == b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    origin, size, head, *_ = (tmp_path / "checkpoint").read_text().split("\n")
    assert (origin, size) == (honest.signer(writer).vkey.name, "10")
    assert base64.b64decode(head) == root(leaves)


def fsck(program: Path, folder: Path) -> str:
    """What Tessera's verifier says; it tries again for ever when something is wrong."""
    command = [str(program), f"--storage_url=file://{folder}/", f"--public_key={folder}/vkey", "-ui=false"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return "timed out"
    return done.stdout + done.stderr


def test_tesseras_fsck_accepts_an_exported_log_of_600_entries_and_no_altered_one(
    tool: Callable[[str], Path], tmp_path: Path
) -> None:
    clock, store = Clock(), MemoryStore()
    register = Register(
        store, Keyring(tmp_path / "keys", DEPLOYMENT), memory=tmp_path, clock=clock, retention_ns=SECOND_NS
    )
    register.open("w-00000001")
    anchor = register.anchor()
    assert anchor is not None
    for _ in range(600):
        clock.now_ns += 60 * SECOND_NS
        anchor.write()
    folder = tmp_path / "tlog"
    assert export_tlog(store, layout.ANCHOR, folder) == 600
    (folder / "vkey").write_text(str(register.log(layout.ANCHOR)._signer.vkey))
    assert "Successfully fsck'd log with size 600" in fsck(tool("fsck"), folder)
    bundle = folder / "tile" / "entries" / "001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"n":3', b'"n":4', 1))
    assert "Successfully" not in fsck(tool("fsck"), folder)
