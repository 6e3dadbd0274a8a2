"""A writer's id becomes a signed log, also when there was a ledger before it, or when its journal was lost."""

import shutil
from pathlib import Path

import msgspec
import pytest

from collector.ledger import layout
from collector.ledger.entry import digest, parse
from collector.sealing.journal import Journal
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from collector.sealing.writer import Config, LedgerWriter
from schemas.errors import ConfigError, Fatal
from tests.collector.ledger.audit.both import both
from tests.collector.ledger.memory_store import MemoryStore
from tests.collector.ledger.samples import DEPLOYMENT, SECOND_NS, Clock, book, calls


class House:
    """One data directory over one store, started again and again."""

    def __init__(self, folder: Path, store: MemoryStore, clock: Clock) -> None:
        self.folder, self.store, self.clock = folder, store, clock
        self.committed = 0

    def start(self) -> None:
        self.journal = Journal(self.folder / "journal", committed_frame=self.committed, clock=self.clock)
        keyring = Keyring(self.folder / "keys", DEPLOYMENT)
        self.register = Register(
            self.store,
            keyring,
            memory=self.folder / "journal",
            clock=self.clock,
            retention_ns=Config().retention_ns,
        )
        log = self.register.open(self.journal.writer_id)
        self.writer = LedgerWriter(self.store, self.journal, log, config=Config(), clock=self.clock)
        self.writer.recover()

    def seal(self, *ids: str) -> None:
        self.clock.now_ns += SECOND_NS
        book(self.journal, calls(ids, at=self.clock.now_ns))
        self.committed = self.journal.next_frame
        self.writer.seal("test")

    def anchor(self) -> None:
        anchor = self.register.anchor()
        assert anchor is not None
        anchor.write()

    def judge(self) -> list[str]:
        root = Keyring(self.folder / "keys", DEPLOYMENT).root()
        return [each.kind for each in both(self.store, str(root), self.clock.now_ns).findings]


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path, MemoryStore(), Clock())
    house.start()
    return house


def lose_the_journal(house: House) -> None:
    house.journal.close()
    shutil.rmtree(house.folder / "journal")
    house.committed = 0


def test_a_ledger_from_before_there_were_signatures_is_signed_at_the_next_start(house: House) -> None:
    for number in range(3):
        house.seal(f"{number}")
    writer, objects, prev = house.journal.writer_id, house.store.objects, ""
    for key in [key for key in objects if "/checkpoint/" in key or "/trust/" in key or "/anchor/" in key]:
        del objects[key]
    for k in range(3):
        key = layout.entry_key(writer, k)
        entry = parse(objects[key], writer=writer, k=k)
        older = msgspec.structs.replace(entry, v="spanward.segment/1", committed_at=msgspec.UNSET, prev=prev)
        objects[key] = older.encode()
        prev = digest(objects[key])
    house.journal.close()
    shutil.rmtree(house.folder / "keys")
    (house.folder / "journal" / f"{writer}.tree").unlink()
    house.clock.now_ns += 86_400 * SECOND_NS
    house.start()
    house.seal("after")
    house.anchor()
    assert house.judge() == []
    assert len([key for key in objects if f"{writer}/checkpoint/" in key]) == 4


@pytest.mark.parametrize("lost_put", ["checkpoint", "entry"])
def test_what_a_lost_journal_left_is_finished_and_its_log_retired(house: House, lost_put: str) -> None:
    house.seal("a")
    house.seal("b")
    old = house.journal.writer_id
    del house.store.objects[layout.checkpoint_key(old, 2)]
    if lost_put == "entry":
        del house.store.objects[layout.entry_key(old, 1)]
    lose_the_journal(house)
    house.clock.now_ns += 3_600 * SECOND_NS
    house.start()
    house.seal("c")
    house.anchor()
    entry = parse(house.store.objects[layout.entry_key(old, 1)], writer=old, k=1)
    assert (entry.cut, entry.seq) == ("adopted" if lost_put == "entry" else "test", (2, 3))
    assert house.judge() == []
    trust = house.register.chain.newest
    assert trust is not None
    assert [(key.log, key.until) for key in trust.keys if key.log == old] == [(old, 2)]
    assert house.journal.writer_id != old


def test_a_new_writer_needs_the_root_key_and_an_old_one_does_not(house: House) -> None:
    house.seal("a")
    (root,) = (house.folder / "keys").glob("root.*.key")
    root.rename(house.folder / "safe")
    house.journal.close()
    house.start()
    house.seal("b")
    lose_the_journal(house)
    with pytest.raises(ConfigError, match=r"the root key .* is not here"):
        house.start()
    house.journal.close()
    (house.folder / "safe").rename(root)
    house.start()
    house.anchor()
    assert house.judge() == []


def test_a_writer_whose_key_is_gone_or_whose_root_is_another_does_not_start(house: House) -> None:
    house.seal("a")
    house.journal.close()
    (key,) = (house.folder / "keys").glob(f"{house.journal.writer_id}.*.key")
    key.rename(house.folder / "safe")
    with pytest.raises(Fatal, match="No key here may sign"):
        house.start()
    house.journal.close()
    shutil.rmtree(house.folder / "keys")
    with pytest.raises(ConfigError, match="does not name its root key"):
        house.start()
    house.journal.close()
    Keyring(house.folder / "keys", DEPLOYMENT).make_root()
    with pytest.raises(ConfigError, match="trust chain does not hold"):
        house.start()


def test_private_keys_are_for_their_owner_only(house: House) -> None:
    modes = {path.name.partition(".")[0]: path.stat().st_mode & 0o777 for path in (house.folder / "keys").iterdir()}
    assert set(modes.values()) == {0o600}
    assert modes.keys() == {"root", "anchor", house.journal.writer_id}


def test_every_log_goes_on_after_any_of_its_keys_was_changed(house: House) -> None:
    for number, name in enumerate([house.journal.writer_id, layout.ANCHOR, "root", house.journal.writer_id, "root"]):
        house.seal(f"{number}")
        house.anchor()
        house.journal.close()
        house.register.rotate(name)
        house.start()
    house.seal("last")
    house.anchor()
    assert house.judge() == []
    assert both(house.store, str(Keyring(house.folder / "keys", DEPLOYMENT).root()), house.clock.now_ns).segments == 6


def test_the_anchor_is_written_every_minute_also_when_nothing_happened(house: House) -> None:
    anchor = house.register.anchor()
    assert anchor is not None
    assert anchor.due()
    for n in range(3):
        entry = anchor.write()
        assert entry is not None
        assert (entry.n, entry.heads, anchor.due()) == (n, (), False)
        house.clock.now_ns += 59 * SECOND_NS
        assert not anchor.due()
        house.clock.now_ns += SECOND_NS
        assert anchor.due()
    house.clock.now_ns -= 3_600 * SECOND_NS
    assert anchor.due(), "a clock that was set back does not stop it"
    entry = anchor.write()
    assert entry is not None
    assert entry.at > house.clock.now_ns, "and its times go on rising"


def test_of_two_who_write_the_anchor_at_once_one_wins_and_the_other_goes_on_behind_it(house: House) -> None:
    house.seal("a")
    one, two = house.register.anchor(), house.register.anchor()
    assert one is not None
    assert two is not None
    one.write()

    def the_other_is_faster(key: str) -> None:
        if key == layout.entry_key(layout.ANCHOR, 1):
            house.store.failpoint = lambda _: None
            house.clock.now_ns += SECOND_NS
            assert two.write() is not None

    house.store.failpoint = the_other_is_faster
    assert one.write() is None
    house.clock.now_ns += SECOND_NS
    entry = one.write()
    assert entry is not None
    assert entry.n == 2
    assert house.judge() == []
