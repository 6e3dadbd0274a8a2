"""Agent paths in, files below the tree or `ConfigError` out."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access.directory import create_default, load, register_agent
from schemas.errors import ConfigError
from schemas.ids import ID_PATTERN, AgentPath
from tests.collector.access.conftest import PATIENT

Write = Callable[[dict[str, str]], Path]
TENANT = {"acme/org.yaml": "", "acme/support/tenant.yaml": ""}
TRIAGE = AgentPath("acme", "support", "triage")


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder: path → mode and content."""
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_registered_agent_is_loaded(governance: Write) -> None:
    root = governance(TENANT)
    assert register_agent(root, TRIAGE, display_name="Ticket triage")
    assert load(root).agents() == (TRIAGE,)
    assert load(root).display_name(str(TRIAGE)) == "Ticket triage"


def test_files_have_the_modes_others_may_read_whatever_the_umask(governance: Write) -> None:
    root = governance(TENANT)
    before = os.umask(0o077)
    try:
        register_agent(root, TRIAGE)
    finally:
        os.umask(before)
    assert (root / "acme/support/agents/triage.yaml").stat().st_mode & 0o777 == 0o644
    assert (root / "acme/support/agents").stat().st_mode & 0o777 == 0o755


def test_registering_again_changes_nothing(governance: Write) -> None:
    root = governance({**TENANT, "acme/support/agents/triage.yaml": "budgets: {daily: {usd: 5}}\n"})
    before = tree(root)
    assert not register_agent(root, TRIAGE, display_name="other")
    assert tree(root) == before


def test_registering_at_the_same_time_writes_one_whole_file(governance: Write) -> None:
    root = governance(TENANT)
    wrote: list[bool] = []
    threads = [threading.Thread(target=lambda: wrote.append(register_agent(root, TRIAGE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wrote) == [False] * 7 + [True]
    assert list((root / "acme/support/agents").iterdir()) == [root / "acme/support/agents/triage.yaml"]


@pytest.mark.parametrize("path", [AgentPath("acme", "sales", "x"), AgentPath("beta", "support", "x")])
def test_agent_of_an_unknown_tenant_is_refused_with_what_to_create(governance: Write, path: AgentPath) -> None:
    root = governance(TENANT)
    before = tree(root)
    with pytest.raises(ConfigError, match=f"no tenant {path.org}/{path.tenant}") as refusal:
        register_agent(root, path)
    assert f"{path.org}/{path.tenant}/tenant.yaml" in refusal.value.fix
    assert tree(root) == before


@pytest.mark.parametrize("linked", ["acme", "acme/support", "acme/support/agents"])
def test_tenant_linked_from_outside_is_not_written_to(governance: Write, tmp_path: Path, linked: str) -> None:
    root = governance(TENANT)
    if linked.endswith("agents"):
        (root / linked).mkdir()
    outside = tmp_path / "outside"
    (root / linked).rename(outside)
    (root / linked).symlink_to(outside)
    before = tree(outside)
    with pytest.raises(ConfigError, match="link that leaves"):
        register_agent(root, TRIAGE)
    assert tree(outside) == before


def test_folder_that_cannot_be_written_says_which_file_to_add(governance: Write) -> None:
    root = governance({**TENANT, "acme/support/agents": "a file where the folder belongs"})
    with pytest.raises(ConfigError) as refusal:
        register_agent(root, TRIAGE)
    assert "acme/support/agents/triage.yaml" in refusal.value.fix


# fmt: off
HOSTILE_NAMES = [
    "", ".", "..", "../x", "a/../../b", "/etc", "%2e%2e%2f", "a\0b", "CON", "a" * 41, "-", "-a", "a-", "A", "a_b",
    "a b", "a=b", "\uff41", "é", "\udcff", "a\n", "\n", "a.yaml", "~", "$HOME", "`id`", "'; rm -rf /", "\u202e", "😀",
    "x" * 300,
]
# fmt: on
HOSTILE = st.text(max_size=300) | st.sampled_from(HOSTILE_NAMES)


@settings(PATIENT, max_examples=5_000)
@given(
    name=HOSTILE.filter(lambda name: not ID_PATTERN.fullmatch(name)), part=st.sampled_from(["org", "tenant", "agent"])
)
def test_hostile_names_never_leave_the_tree(governance: Write, tmp_path: Path, name: str, *, part: str) -> None:
    root = governance(TENANT)
    names = {"org": "acme", "tenant": "support", "agent": "triage", part: name}
    with pytest.raises(ConfigError) as refusal:
        register_agent(root, AgentPath(**names))
    refusal.value.diagnostics().encode("utf-8")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "acme", "governance", "org.yaml", "support", "tenant.yaml",
    ]  # fmt: skip


PRINTABLE = st.text(max_size=200).filter(str.isprintable)


@settings(PATIENT, max_examples=200)
@given(
    display_name=PRINTABLE
    | st.sampled_from(["- x", "a: b", "'", '"', "#", "&a", "null", "~", "NO", "{}", "%", "😀" * 200])
)
def test_any_printable_display_name_is_read_back_as_given(governance: Write, display_name: str) -> None:
    root = governance(TENANT)
    (root / "acme/support/agents/triage.yaml").unlink(missing_ok=True)
    register_agent(root, TRIAGE, display_name=display_name)
    assert load(root).display_name(str(TRIAGE)) == (display_name or str(TRIAGE))


@pytest.mark.parametrize("display_name", ["a\nbudgets: {}", "\x1b[31m", "\udcff", "x" * 201])
def test_display_name_that_could_not_be_shown_is_refused(governance: Write, display_name: str) -> None:
    root = governance(TENANT)
    with pytest.raises(ConfigError, match="display name"):
        register_agent(root, TRIAGE, display_name=display_name)
    assert not (root / "acme/support/agents").exists()


def test_default_tree_loads_with_one_unlimited_agent(tmp_path: Path) -> None:
    create_default(tmp_path / "governance")
    directory = load(tmp_path / "governance")
    assert directory.agents() == (AgentPath("default", "default", "default"),)
    assert {(each.daily_nano_usd, each.monthly_nano_usd) for each in directory.scope_limits().values()} == {
        (None, None)
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "governance"]


def test_examples_in_the_default_tree_are_valid_once_uncommented(tmp_path: Path) -> None:
    root = tmp_path / "governance"
    create_default(root)
    for path in root.rglob("*.yaml"):
        lines = path.read_text(encoding="utf-8").splitlines()
        examples = [line.removeprefix("# ") for line in lines if line.startswith(("# budgets", "#  ", "# time_zone"))]
        path.write_text("\n".join(examples), encoding="utf-8")
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
    directory = load(root)
    assert all(each.daily_nano_usd and each.monthly_nano_usd for each in directory.scope_limits().values())
    assert directory.findings == ()
    assert directory.scope_limits()["default/default/default"].time_zone == "America/New_York"


def test_default_tree_is_never_written_over_another(governance: Write) -> None:
    root = governance(TENANT)
    before = tree(root)
    with pytest.raises(ConfigError, match="exists already"):
        create_default(root)
    assert tree(root) == before
