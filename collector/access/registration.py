"""A person's wish becomes governance files: the first tree of a new data directory, one more agent.

Invariant: existing files are never changed, and a file or tree appears whole or not at all. What is
written here loads without an error, and its comments show how to write the rest by hand.

Leaves editing, review and removal to the operator's own editor and version control.
"""

import shutil
import tempfile
from pathlib import Path

import yaml

from collector.access.durable_file import create_file
from collector.access.tree import Config, Tree, checked_id
from collector.frames import sync_folder
from schemas.errors import ConfigError
from schemas.ids import AgentPath

DEFAULT_AGENT = AgentPath("default", "default", "default")
MAX_DISPLAY_NAME_CHARS = 200

_BUDGETS = """
# Budgets in USD, as decimal text. A window that is left out is not limited here; the limits of the
# organisation, the tenant and the agent all hold at once.
# budgets:
#   daily:
#     usd: "{daily}"
#   monthly:
#     usd: "{monthly}"
"""
_ORG = """\
# An organisation. The name of this folder is its id; an empty file is valid.
display_name: "Default organisation"

# Budget days and months start at midnight in this time zone (IANA name); tenants may choose their own.
# time_zone: "Europe/Berlin"
"""
_TENANT = """\
# A tenant (workspace). The name of this folder is its id; an empty file is valid.
display_name: "Default tenant"

# Without a time zone of its own a tenant keeps its organisation's.
# time_zone: "America/New_York"
"""
_AGENT = """\
# An agent. The name of this file is its id; an empty file is valid.
display_name: "Default agent"
"""


def register_agent(root: Path, path: AgentPath, *, display_name: str = "") -> bool:
    """Write the file of a new agent under a tenant that exists; False when the agent is there already.

    Raises `ConfigError` when an id or the display name is not valid, the tenant does not exist, or
    the folder cannot be written or lies outside `root`.
    """
    for name in (path.org, path.tenant, path.agent):
        checked_id(name, where=f"agent path {str(path)!r}")
    content = _display_name(display_name)
    tree = Tree(root, Config())
    tenant = f"{path.org}/{path.tenant}"
    if not (root / tenant / "tenant.yaml").is_file():
        raise ConfigError(
            f"There is no tenant {tenant} in {root}.",
            fix=f"Create {path.org}/org.yaml and {tenant}/tenant.yaml there; both files may be empty.",
        )
    try:
        _make_folder(tree.inside(tenant) / "agents")
        return create_file(tree.inside(f"{tenant}/agents") / f"{path.agent}.yaml", content, mode=0o644)
    except OSError as error:
        raise ConfigError(
            f"The file of agent {path} cannot be written: {error.strerror}.",
            fix=f"Add an empty {tenant}/agents/{path.agent}.yaml where the governance files are kept.",
        ) from error


def create_default(root: Path) -> None:
    """Make the governance directory `root` with `default/default/default`, which nothing limits.

    The files carry commented examples of budgets. Raises `ConfigError` when `root` exists.
    """
    if root.exists():
        raise ConfigError(f"{root} exists already.", fix="Edit the files in it.")
    # Built beside its place and renamed, so that a crash never leaves half a policy there.
    staged = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write_default(staged)
        staged.rename(root)
    except OSError:
        shutil.rmtree(staged)
        raise
    sync_folder(root.parent)


def _write_default(root: Path) -> None:
    tenant = root / DEFAULT_AGENT.org / DEFAULT_AGENT.tenant
    (tenant / "agents").mkdir(parents=True)
    for folder in (root, tenant.parent, tenant, tenant / "agents"):
        folder.chmod(0o755)
    for path, text in (
        (tenant.parent / "org.yaml", _ORG + _BUDGETS.format(daily="500", monthly="10000")),
        (tenant / "tenant.yaml", _TENANT + _BUDGETS.format(daily="200", monthly="4000")),
        (tenant / "agents" / f"{DEFAULT_AGENT.agent}.yaml", _AGENT + _BUDGETS.format(daily="50.00", monthly="800")),
    ):
        create_file(path, text.encode(), mode=0o644)
    sync_folder(root)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        # Explicit, because the mode given to mkdir() is narrowed by the umask.
        folder.chmod(0o755)
        sync_folder(folder.parent)


def _display_name(text: str) -> bytes:
    if not text.isprintable() or len(text) > MAX_DISPLAY_NAME_CHARS:
        raise ConfigError(
            "The display name is not usable.",
            fix=f"Use up to {MAX_DISPLAY_NAME_CHARS} printable characters in one line.",
        )
    if not text:
        return b""
    # One line whatever the length, quoted as the text needs.
    return yaml.safe_dump({"display_name": text}, allow_unicode=True, width=10 * MAX_DISPLAY_NAME_CHARS).encode()
