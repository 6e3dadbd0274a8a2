"""Durations and sizes as people write them in configuration: `15m`, `20ms`, `16MiB`."""

import re
from typing import Self

from schemas.errors import ConfigError

_DURATION_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_SIZE_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}


class Duration:
    """A length of time; `ns` is exact."""

    __slots__ = ("ns", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.ns = _parse(text, _DURATION_NS, "a duration", "15m, 20ms or 24h")

    @property
    def seconds(self) -> float:
        """For timers only, never for arithmetic on recorded times."""
        return self.ns / 1e9

    def __repr__(self) -> str:
        return self.text


class Size:
    """A number of bytes."""

    __slots__ = ("bytes", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.bytes = _parse(text, _SIZE_BYTES, "a size", "16MiB, 64KiB or 10GiB")

    def __repr__(self) -> str:
        return self.text


class Secret:
    """Text that prints as `****`; `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return "****"

    @classmethod
    def empty(cls) -> Self:
        """No secret configured."""
        return cls("")


def read_quantity(kind: type, text: object) -> object:
    """The `dec_hook` for settings that one process of ours hands to another."""
    if kind in (Duration, Size, Secret) and isinstance(text, str):
        return kind(text)
    raise TypeError(f"{kind.__name__} is not a setting")


def write_quantity(value: object) -> str:
    """The `enc_hook` for the same: secrets are revealed, for the one process that uses them."""
    return value.reveal() if isinstance(value, Secret) else repr(value)


def _parse(text: str, units: dict[str, int], what: str, example: str) -> int:
    match = re.fullmatch(r"(\d{1,15})([A-Za-z]+)", text)
    if match is None or match.group(2) not in units:
        raise ConfigError(f"{text!r} is not {what}.", fix=f"Write a whole number and a unit, for example {example}.")
    return int(match.group(1)) * units[match.group(2)]
