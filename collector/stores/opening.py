"""The place that a command line or a setting names in, the store there out."""

from pathlib import Path

from collector.stores.directory import DirectoryStore
from collector.stores.s3 import S3Store


def open_store(place: str) -> DirectoryStore | S3Store:
    """The store at `s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]`, or in a folder.

    Raises `ConfigError` if the address cannot be understood.
    """
    return S3Store(place) if place.startswith("s3://") else DirectoryStore(Path(place))
