"""Objects in a dictionary: a store that polices the write-once contract and lets a forger reach behind it."""

from collections.abc import Callable

from collector.stores.contract import Exists, Found, Held


class MemoryStore:
    """`failpoint` is called with the key before and after each put has had its effect."""

    def __init__(self, objects: dict[str, bytes] | None = None, failpoint: Callable[[str], None] | None = None) -> None:
        self.objects = {} if objects is None else objects
        self.failpoint = failpoint or (lambda _: None)

    def put_new(self, key: str, data: bytes, retain_until_ns: int) -> None:
        """Put once; every object of a ledger is kept for a time."""
        assert retain_until_ns > 0
        self.failpoint(key)
        if key in self.objects:
            raise Exists(key)
        self.objects[key] = data
        self.failpoint(key)

    def get(self, key: str) -> bytes | None:
        """The object, if there is one."""
        return self.objects.get(key)

    def inventory(self, prefix: str) -> list[Found]:
        """All names below a prefix; nobody vouches for when they came."""
        return [Found(key) for key in self.list(prefix)]

    def find(self, key: str) -> Found | None:
        """One name, if it is there."""
        return Found(key) if key in self.objects else None

    def read(self, found: Found) -> Held | None:
        """The object, if there is one."""
        data = self.objects.get(found.key)
        return None if data is None else Held(data)

    def list(self, prefix: str) -> list[str]:
        """All names below a prefix, in order."""
        return sorted(key for key in self.objects if key.startswith(prefix))
