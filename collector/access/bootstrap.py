"""A fresh data directory becomes one that can be used: a default agent, its key and an admin token.

Invariant: a data directory gets its first admin token once. A marker file stands from before the
keys are made until `bootstrap.json` is durable; when a start finds the marker, the crash it tells
of lost the texts, so those keys are revoked and made again. Nobody is left outside, and no key
whose text went nowhere stays valid.

Leaves to the caller to print the texts and, once the ports are known, to call `write_bootstrap`.
"""

import os
import pwd
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from collector.access.directory import load
from collector.access.durable_file import replace_file
from collector.access.keys import KeyStore
from collector.access.registration import DEFAULT_AGENT, create_default
from collector.frames import sync_folder

ACTOR = "system:bootstrap"


class BootstrapResult(msgspec.Struct, frozen=True):
    """The texts to show once. `agent_key` and `agent` are None when the operator's own governance
    directory does not know `default/default/default`.
    """

    admin_token: str
    agent_key: str | None
    agent: str | None

    def __repr__(self) -> str:
        # The fields are secrets, and a repr ends up in logs.
        return f"BootstrapResult(agent={self.agent!r}, admin_token=****, agent_key=****)"


def access_path(data_dir: Path) -> Path:
    """Where the keys of a data directory are kept."""
    return data_dir / "state" / "access.db"


def governance_path(data_dir: Path) -> Path:
    """Where the governance files of a data directory are."""
    return data_dir / "governance"


def local_actor() -> str:
    """Who runs this process, as an entry's actor: `user:LOGIN@HOST`.

    From the password database and not from the environment, which the user may set to anything.
    """
    uid = os.getuid()
    try:
        login = pwd.getpwuid(uid).pw_name
    except KeyError:
        login = f"uid-{uid}"
    return f"user:{login}@{socket.gethostname()}"


def bootstrap(data_dir: Path, *, clock: Callable[[], int]) -> BootstrapResult | None:
    """Prepare a data directory that never had an admin token; None when there is nothing to do.

    Creates `governance/` only where there is none. To be followed by `write_bootstrap`.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with KeyStore(access_path(data_dir), clock=clock) as store:
        if _marker(data_dir).exists() and not _bootstrap_file(data_dir).exists():
            _revoke_lost(store)
        elif any(credential.kind == "admin" for credential in store.list()):
            _end(data_dir)
            return None
        if not governance_path(data_dir).exists():
            create_default(governance_path(data_dir))
        directory = load(governance_path(data_dir))
        # A file from an earlier life of this directory would make the marker look answered.
        _bootstrap_file(data_dir).unlink(missing_ok=True)
        replace_file(_marker(data_dir), b"", mode=0o600)
        admin_token, _ = store.create_admin_token(actor=ACTOR)
        if not directory.has_agent(DEFAULT_AGENT):
            return BootstrapResult(admin_token, None, None)
        agent_key, _ = store.create_agent_key(DEFAULT_AGENT, actor=ACTOR)
        return BootstrapResult(admin_token, agent_key, str(DEFAULT_AGENT))


def write_bootstrap(data_dir: Path, result: BootstrapResult, endpoints: Mapping[str, str]) -> None:
    """Write `bootstrap.json`, readable by its owner only: the texts and where the doors are.

    `endpoints` holds `otlp_http`, `otlp_grpc` and `control`.
    """
    document = {**msgspec.structs.asdict(result), "endpoints": dict(endpoints)}
    content = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    replace_file(_bootstrap_file(data_dir), content, mode=0o600)
    # A crash before this line leaves marker and file: the next start sees both and ends here too.
    _end(data_dir)


def _end(data_dir: Path) -> None:
    """Take the marker away: else deleting `bootstrap.json`, as one should, would look like a crash."""
    _marker(data_dir).unlink(missing_ok=True)
    sync_folder(_marker(data_dir).parent)


def _revoke_lost(store: KeyStore) -> None:
    """Revoke what the interrupted bootstrap made; only it acts under its name."""
    for _, event in store.events(0):
        if event.row["actor"] == ACTOR and event.row["action"] == "keys.create":
            store.revoke(str(event.row["subject"]), actor=ACTOR, reason="The start that made it was interrupted.")


def _marker(data_dir: Path) -> Path:
    return data_dir / "state" / "bootstrap.pending"


def _bootstrap_file(data_dir: Path) -> Path:
    return data_dir / "bootstrap.json"
