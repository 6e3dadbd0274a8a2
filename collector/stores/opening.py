"""The place that a command line or a setting names in, the store there out."""

from pathlib import Path

from collector.stores.check import check
from collector.stores.contract import Mode
from collector.stores.directory import DirectoryStore
from collector.stores.mirror import MirroredStore
from collector.stores.s3 import S3Store
from schemas.errors import ConfigError

LEDGER = "ledger/"


def open_store(place: str) -> DirectoryStore | S3Store:
    """The store at `s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]`, or in a folder.

    Raises `ConfigError` if the address cannot be understood.
    """
    return S3Store(place) if place.startswith("s3://") else DirectoryStore(Path(place))


def collectors_store(place: str, folder: Path, mode: Mode) -> DirectoryStore | MirroredStore:
    """Where a collector puts its ledger: a bucket, with a copy in `folder`, or the folder alone.

    The copy is filled up first. Raises `ConfigError` if `mode` asks for a store that keeps evidence
    against its owner, and this one does not.
    """
    if not place:
        if mode == "compliance":
            raise ConfigError(
                "exporters.ledger.mode is compliance, and a folder enforces no retention.",
                fix="Set exporters.ledger.store to a bucket with Object Lock, or the mode to evident.",
            )
        return DirectoryStore(folder)
    bucket = S3Store(place)
    broken = [fact for fact in check(bucket) if fact.needed and not fact.holds] if mode == "compliance" else []
    if broken:
        raise ConfigError(
            f"exporters.ledger.mode is compliance, and of this store it is not true that {broken[0].name}.",
            fix="Use a bucket with Object Lock; `spanward store check` prints the whole table.",
        )
    store = MirroredStore(bucket, DirectoryStore(folder))
    store.catch_up(LEDGER)
    return store
