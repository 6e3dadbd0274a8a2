"""What was looked at in, findings by class out: the words of a verification."""

from typing import Literal

import msgspec

Class = Literal[
    "rewritten", "hidden", "foreign", "missing", "altered", "chain", "signature", "history", "rows", "time", "anchor",
    "trust", "retention", "kept",
]  # fmt: skip

MEANINGS: dict[Class, str] = {
    "rewritten": "somebody put a second version over a write-once name; the first one is judged here",
    "hidden": "somebody laid a delete marker over evidence; the first version is judged here",
    "foreign": "an object that no entry names: it was added, or what named it was removed",
    "missing": "evidence that was there, or must be, is gone",
    "altered": "the bytes are not those that were hashed",
    "chain": "an entry does not continue the one before it: something was replaced, removed or reordered",
    "signature": "no key that the root key vouches for signed this",
    "history": "what was signed is not what is there: the log was rewritten after the signature",
    "rows": "the rows are not those that the entry commits to",
    "time": "something was dated otherwise than when it came: back-dated, or a clock was wrong by minutes",
    "anchor": "the anchor saw another history than the one that is there, or did not see this one in time",
    "trust": "the chain of public keys does not hold, or a log has no key in it",
    "retention": "the store keeps an object for less long than its entry promises",
    "kept": "this ledger does not continue the checkpoint that you kept: history was rewritten",
}

Notice = Literal["pending", "late", "expired", "stale"]


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong: its class, the object, and what exactly."""

    kind: Class
    key: str
    message: str


class Remark(msgspec.Struct, frozen=True, order=True):
    """One thing worth knowing that is not wrong."""

    kind: Notice
    key: str
    message: str


class Report(msgspec.Struct, kw_only=True):
    """The result of a verification. `checkpoint` is the anchor's newest: keep it for the next one."""

    findings: list[Finding] = []
    notices: list[Remark] = []
    checkpoint: str = ""
    objects: int = 0
    writers: int = 0
    segments: int = 0
    rows: int = 0
    anchors: int = 0

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings
