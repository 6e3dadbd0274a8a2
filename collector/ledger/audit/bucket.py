"""Every name below the ledger's prefix in, first versions and what nobody asked for out.

Every read says whether it was there and how long it is kept. Names that no step of the verification
asked for belong to nothing, and are the last finding.
"""

from collections.abc import Iterator

from collector.ledger import layout
from collector.ledger.audit.findings import Class, Finding, Notice, Remark, Report
from collector.stores.contract import EvidenceStore, Found


class Bucket:
    """One look at a store: the listing is made once, so logs end where they ended then."""

    def __init__(self, store: EvidenceStore, report: Report) -> None:
        self._store = store
        self._report = report
        self._found = {found.key: found for found in store.inventory(f"{layout.PREFIX}/")}
        self._asked: set[str] = set()
        self._retained: dict[str, int | None] = {}
        report.objects = len(self._found)

    def finding(self, kind: Class, key: str, message: str) -> None:
        """Note one thing that is wrong."""
        self._report.findings.append(Finding(kind, key, message))

    def notice(self, kind: Notice, key: str, message: str) -> None:
        """Note one thing worth knowing."""
        self._report.notices.append(Remark(kind, key, message))

    def names(self, prefix: str) -> list[str]:
        """Every name below a prefix, in order."""
        return sorted(key for key in self._found if key.startswith(prefix))

    def put_at(self, key: str) -> int | None:
        """When the store says an object came (Unix ns)."""
        found = self._found.get(key)
        return None if found is None else found.put_at

    def read(self, key: str, *, expected: bool = False) -> bytes | None:
        """The first version of a name, None if it is not there.

        What is `expected`, because something that was listed names it, may have come during the listing.
        """
        self._asked.add(key)
        if expected and key not in self._found and (late := self._store.find(key)):
            self._found[key] = late
        found = self._found.get(key)
        held = self._store.read(found) if found is not None and found.plain else None
        if held is None:
            return None
        self._retained[key] = held.retain_until
        return held.data

    def is_there(self, key: str) -> bool:
        """Whether a name that belongs here was listed; its bytes are not looked at."""
        self._asked.add(key)
        found = self._found.get(key)
        return found is not None and found.plain

    def peek(self, key: str) -> bytes | None:
        """The same, without making it a thing that belongs here."""
        asked = key in self._asked
        data = self.read(key)
        if not asked:
            self._asked.discard(key)
        return data

    def must_keep(self, key: str, until: int) -> None:
        """Report an object that was read and that its store keeps for less long than `until` (Unix ns)."""
        held = self._retained.get(key)
        # Stores keep whole seconds.
        if held is not None and held < until // 10**9 * 10**9:
            self.finding("retention", key, f"the store keeps it until {held} only, promised is {until}")

    def leave(self, prefix: str) -> None:
        """Do not report what is below a prefix again: one finding has said it."""
        self._asked.update(self.names(prefix))

    def pending(self, key: str, message: str) -> None:
        """A name that nothing names yet, where a crash or a put under way leaves one."""
        if key not in self._asked:
            self._asked.add(key)
            self.notice("pending", key, message)

    def close(self) -> None:
        """Report names with a history, and names that belong to nothing."""
        for found in self._found.values():
            for kind, message in _histories(found):
                self.finding(kind, found.key, message)
            if found.key not in self._asked:
                self.finding("foreign", found.key, "no entry names it")


def _histories(found: Found) -> Iterator[tuple[Class, str]]:
    if found.versions > 1:
        yield "rewritten", f"{found.versions} versions of a write-once name"
    if found.hidden:
        yield "hidden", "a delete marker lies over it"
    if not found.plain:
        yield "foreign", "it is a link or another thing that is no file"
