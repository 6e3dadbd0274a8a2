"""A folder and a store in, signers and a trust chain that names them out.

Every log has an Ed25519 key of its own, PEM in `LOG.HASH.key` with mode 0600; HASH is the vkey's. The
root key signs the trust documents only: it is made here at the first start and should then move to a
safe. A new writer, a new key and a retired log are each one more document.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from collector.frames import make_folder, sync_folder
from collector.ledger import layout
from collector.ledger.entry import digest
from collector.ledger.note import Signer, Vkey, parse_vkey, sign
from collector.ledger.trust import ROOT, LogKey, TrustDocument, follow
from collector.stores.contract import Exists, ObjectStore
from schemas.errors import ConfigError, Permanent

# The chain must outlive whatever it proves.
_TRUST_NS = 10 * 366 * 86_400 * 10**9
_LATER = 2**63 - 1


# C2SP checkpoint origins are one line of text; ours are also safe in a URL.
_DEPLOYMENT = re.compile(r"[a-z0-9.-]{1,100}(?:/[a-z0-9.-]{1,100}){0,4}")


class FileSigner:
    """A private key in a file."""

    def __init__(self, path: Path, name: str) -> None:
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} is not a private key: {error}.", fix="Put it back from a copy.") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path} is not an Ed25519 key.", fix="Put it back from a copy.")
        self._key = key
        self.vkey = Vkey(name, key.public_key().public_bytes_raw())

    def sign(self, text: bytes) -> bytes:
        """The signature of `text`."""
        return self._key.sign(text)


class Keyring:
    """The private keys in a folder, for the logs of one deployment, which is their origin for ever."""

    def __init__(self, folder: Path, deployment: str) -> None:
        if not _DEPLOYMENT.fullmatch(deployment):
            raise ConfigError(
                f"{deployment!r} cannot name a deployment.",
                fix="Use a-z, 0-9, '.', '-' and '/', for example gov.example/prod.",
            )
        self._folder = folder
        self.deployment = deployment

    @property
    def root_vkey(self) -> Path:
        """The public half of the first root key: the one thing an auditor needs beside the store."""
        return self._folder / f"{ROOT}.vkey"

    def make(self, log: str) -> FileSigner:
        """A new key for a log."""
        key = Ed25519PrivateKey.generate()
        name = f"{self.deployment}/{log}"
        vkey = Vkey(name, key.public_key().public_bytes_raw())
        path = self._folder / f"{log}.{vkey.hash.hex()}.key"
        self._write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return FileSigner(path, name)

    def signer(self, log: str, vkeys: Iterable[str]) -> Signer | None:
        """The key in this folder that is one of `vkeys`, if there is one."""
        wanted = set(vkeys)
        for path in sorted(self._folder.glob(f"{log}.*.key")):
            signer = FileSigner(path, f"{self.deployment}/{log}")
            if str(signer.vkey) in wanted:
                return signer
        return None

    def root(self) -> Vkey | None:
        """The first root key of the deployment, None before its first start."""
        try:
            return parse_vkey(self.root_vkey.read_text().strip())
        except FileNotFoundError:
            return None

    def make_root(self) -> FileSigner:
        """The first root key, and the file for the auditor."""
        signer = self.make(ROOT)
        self._write(self.root_vkey, f"{signer.vkey}\n".encode())
        return signer

    def _write(self, path: Path, content: bytes) -> None:
        make_folder(self._folder)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(self._folder)


class TrustChain:
    """The chain in a store, with the keys that extend it. `clock` returns Unix ns.

    Raises `ConfigError` if the store's chain is of another root key or deployment.
    """

    def __init__(self, store: ObjectStore, keyring: Keyring, clock: Callable[[], int]) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self.newest: TrustDocument | None = None
        self.digest = ""
        self.refresh()

    def refresh(self) -> TrustDocument | None:
        """Read what others added since; returns the newest document."""
        root = self._keyring.root()
        notes = list(self._notes(0 if self.newest is None else self.newest.n + 1))
        if notes and root is None:
            raise ConfigError(
                f"The store has a ledger, and {self._keyring.root_vkey} does not name its root key.",
                fix="Copy root.vkey, root.*.key and anchor.*.key (no other key) from the deployment's first instance, "
                "or use an empty store.",
            )
        if notes and root is not None:
            everything = [*self._notes(0)]
            try:
                *_, self.newest = follow(everything, root)
            except Permanent as error:
                raise ConfigError(
                    f"The ledger's trust chain does not hold: {error.what}.",
                    fix=f"Check that service.deployment and {self._keyring.root_vkey} are those of this store.",
                ) from None
            if self.newest.deployment != self._keyring.deployment:
                raise ConfigError(
                    f"The store's ledger is of deployment {self.newest.deployment}, not {self._keyring.deployment}.",
                    fix="Put service.deployment back as it was, or use an empty store.",
                )
            self.digest = digest(everything[-1])
        return self.newest

    def add(
        self, changes: Callable[[TrustDocument | None], Iterable[LogKey]], *, next_root: Vkey | None = None
    ) -> TrustDocument:
        """One more document, whose keys are `changes(newest)`; tried again if somebody else added one first.

        `next_root` signs the documents after it.
        """
        while True:
            newest = self.refresh()
            root = self._root_signer(newest)
            keys = tuple(sorted(changes(newest), key=lambda key: (key.log, key.since, key.vkey)))
            if newest is not None and keys == newest.keys and next_root is None:
                return newest
            document = TrustDocument(
                deployment=self._keyring.deployment,
                n=newest.n + 1 if newest else 0,
                at=max(self._clock(), newest.at + 1 if newest else 0),
                root=str(next_root or root.vkey),
                keys=keys,
                prev=self.digest,
            )
            note = sign(document.text(), root)
            with suppress(Exists):
                self._store.put_new(layout.trust_key(document.n), note, min(document.at + _TRUST_NS, _LATER))
                self.newest, self.digest = document, digest(note)
                return document

    def _root_signer(self, newest: TrustDocument | None) -> Signer:
        root = self._keyring.root()
        if newest is None and root is None:
            return self._keyring.make_root()
        current = str(root) if newest is None else newest.root
        signer = self._keyring.signer(ROOT, [current])
        if signer is None:
            raise ConfigError(
                f"A key has to be added to the ledger's trust chain, and the root key {current} is not here.",
                fix=f"Put root.*.key beside {self._keyring.root_vkey} for this one start.",
            )
        return signer

    def _notes(self, start: int) -> Iterator[bytes]:
        n = start
        while (note := self._store.get(layout.trust_key(n))) is not None:
            yield note
            n += 1
