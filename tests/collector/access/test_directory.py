"""Governance files in, a directory or one precise error out."""

import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access.directory import Config, load
from schemas.errors import ConfigError
from schemas.governance import ScopeLimits
from schemas.ids import ID_PATTERN, AgentPath
from schemas.quantities import Size
from tests.collector.access.conftest import PATIENT

Write = Callable[[dict[str, str]], Path]

FILES = {
    "acme/org.yaml": "display_name: Acme\ntime_zone: Europe/Berlin\nbudgets: {monthly: {usd: 10000}}\n",
    "acme/support/tenant.yaml": "budgets:\n  daily:\n    usd: '200'\n",
    "acme/support/agents/triage.yaml": "display_name: Triage\nbudgets: {daily: {usd: 50.10}, monthly: {usd: '800'}}\n",
    "acme/support/agents/summary.yaml": "",
    "acme/sales/tenant.yaml": "time_zone: America/New_York\n",
    "acme/sales/agents/quotes.yaml": "",
    "beta/org.yaml": "",
}
USD = 10**9


def test_every_scope_has_its_limits_in_nano_usd_and_its_inherited_time_zone(governance: Write) -> None:
    berlin, new_york = "Europe/Berlin", "America/New_York"
    assert load(governance(FILES)).scope_limits() == {
        limits.scope: limits
        for limits in (
            ScopeLimits("acme", berlin, None, 10_000 * USD),
            ScopeLimits("acme/support", berlin, 200 * USD, None),
            ScopeLimits("acme/support/triage", berlin, 50_100_000_000, 800 * USD),
            ScopeLimits("acme/support/summary", berlin, None, None),
            ScopeLimits("acme/sales", new_york, None, None),
            ScopeLimits("acme/sales/quotes", new_york, None, None),
            ScopeLimits("beta", "UTC", None, None),
        )
    }


def test_directory_knows_its_agents_tenants_and_names(governance: Write) -> None:
    directory = load(governance(FILES))
    paths = ("acme/sales/quotes", "acme/support/summary", "acme/support/triage")
    assert directory.agents() == tuple(map(AgentPath.parse, paths))
    assert directory.tenants() == ("acme/sales", "acme/support")
    assert directory.has_agent(AgentPath("acme", "support", "triage"))
    assert not directory.has_agent(AgentPath("acme", "sales", "triage"))
    assert directory.display_name("acme/support/triage") == "Triage"
    assert directory.display_name("acme/support/summary") == "acme/support/summary"


def test_empty_governance_knows_nobody(governance: Write, tmp_path: Path) -> None:
    (tmp_path / "governance").mkdir()
    assert load(governance({})).scope_limits() == {}


def test_digest_follows_the_meaning_and_not_the_layout(governance: Write) -> None:
    first = load(governance(FILES)).digest
    assert len(first) == 64
    same = {"acme/support/tenant.yaml": "# a note\ntime_zone: Europe/Berlin\nbudgets: {daily: {usd: 200.0}}\n"}
    assert load(governance(same)).digest == first
    seen = {first}
    for change in (
        {"acme/support/tenant.yaml": "budgets: {daily: {usd: '200.000000001'}}"},
        {"acme/support/tenant.yaml": "budgets: {monthly: {usd: 200}}"},
        {"acme/support/tenant.yaml": "time_zone: Europe/Paris\nbudgets: {daily: {usd: 200}}"},
        {"acme/support/tenant.yaml": "display_name: S\nbudgets: {daily: {usd: 200}}"},
        {"acme/support/agents/third.yaml": ""},
    ):
        digest = load(governance(change)).digest
        assert digest not in seen
        seen.add(digest)


def test_limit_above_the_nearest_lower_one_is_a_finding(governance: Write) -> None:
    root = governance(
        {
            "acme/org.yaml": "budgets: {daily: {usd: 100}, monthly: {usd: 500}}",
            "acme/support/tenant.yaml": "budgets: {monthly: {usd: 500}}",
            "acme/support/agents/triage.yaml": "budgets: {daily: {usd: 100.01}, monthly: {usd: 501}}",
        }
    )
    assert load(root).findings == (
        "The daily limit of acme/support/triage can never be reached: it exceeds 100.000000000 USD of acme.",
        "The monthly limit of acme/support/triage can never be reached: it exceeds 500.000000000 USD of acme/support.",
    )


@pytest.mark.parametrize(
    ("place", "text", "what", "fix"),
    [
        (
            "acme/org.yaml",
            "time_zone: Europe/Belrin",
            "governance/acme/org.yaml:1: time_zone: there is",
            "'Europe/Berlin'",
        ),
        ("acme/org.yaml", "\ntime_zone: ../../etc/passwd", "governance/acme/org.yaml:2: time_zone: there is", "IANA"),
        ("acme/org.yaml", "time_zone: localtime", "governance/acme/org.yaml:1: time_zone: there is", "IANA"),
        ("acme/org.yaml", "time_zone: America", "governance/acme/org.yaml:1: time_zone: there is", "IANA"),
        (
            "acme/org.yaml",
            "budgets:\n  daily:\n    usd: lots",
            "governance/acme/org.yaml:3: budgets.daily.usd: 'lots'",
            "50",
        ),
        (
            "acme/org.yaml",
            "budgets: {daily: {usd: -1}}",
            "governance/acme/org.yaml:1: budgets.daily.usd: '-1'",
            "decimal",
        ),
        (
            "acme/org.yaml",
            "budgets: {daily: {usd: 1e3}}",
            "governance/acme/org.yaml:1: budgets.daily.usd: '1e3'",
            "decimal",
        ),
        ("acme/org.yaml", "budgets: {daily: {usd: .nan}}", "governance/acme/org.yaml:1: budgets.daily.usd: '.nan'", ""),
        ("acme/org.yaml", "budgets: {daily: {usd: 9e999999999}}", "governance/acme/org.yaml:1: budgets.daily.usd", ""),
        ("acme/org.yaml", "budgets: {daily: {usd: '５'}}", "governance/acme/org.yaml:1: budgets.daily.usd", ""),
        (
            "acme/org.yaml",
            "budgets: {daily: {usd: 0.0000000001}}",
            "governance/acme/org.yaml:1: budgets.daily.usd",
            "smallest",
        ),
        (
            "acme/org.yaml",
            "budgets: {daily: {usd: 4611686019}}",
            "governance/acme/org.yaml:1: budgets.daily.usd",
            "The largest is 4611686018 USD",
        ),
        ("acme/org.yaml", "budgets: {weekly: {}}", "governance/acme/org.yaml:1: budgets.weekly is not", "daily"),
        (
            "acme/support/agents/triage.yaml",
            "time_zone: UTC",
            "governance/acme/support/agents/triage.yaml:1: time_zone",
            "",
        ),
        ("stray.yaml", "", "'stray.yaml' lies beside", "ORG/org.yaml"),
        ("acme/org.yml", "", "governance/acme/ holds an unknown file 'org.yml'", "Did you mean 'org.yaml'?"),
        ("acme/support/notes.txt", "", "governance/acme/support/ holds an unknown file 'notes.txt'", "tenant.yaml"),
        ("acme/support/agent/x.yaml", "", "governance/acme/support/ holds an unknown folder 'agent'", "'agents'"),
        ("acme/support/agents/x.yml", "", "governance/acme/support/agents/ holds 'x.yml'", "'x.yaml'"),
        ("acme/support/agents/x/y.yaml", "", "governance/acme/support/agents/ holds a folder 'x'", "a file"),
        ("gamma/sales/tenant.yaml", "", "governance/gamma/ has no org.yaml", "may be empty"),
        ("acme/agents/x.yaml", "", "governance/acme/agents/ holds an unknown file 'x.yaml'", "tenant.yaml"),
        ("Acme/org.yaml", "", "'Acme' in the governance directory is not a valid id", "a-z"),
        ("acme/a_b/tenant.yaml", "", "'a_b' in governance/acme is not a valid id", "a-z"),
        ("acme/support/agents/a b.yaml", "", "'a b' in governance/acme/support/agents is not a valid id", "a-z"),
    ],
)
def test_mistake_is_named_with_file_line_key_and_cure(
    governance: Write, place: str, text: str, *, what: str, fix: str
) -> None:
    governance(FILES)
    with pytest.raises(ConfigError) as refusal:
        load(governance({place: text}))
    assert refusal.value.what.startswith(what)
    assert fix in refusal.value.fix


def test_version_control_and_notes_are_skipped(governance: Write) -> None:
    before = load(governance(FILES)).digest
    notes = {
        ".git/config": "[core]",
        "README.md": "x",
        "acme/README.md": "x",
        "acme/support/agents/.triage.yaml.swp": "x",
    }
    assert load(governance(notes)).digest == before


def test_missing_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no governance directory"):
        load(tmp_path / "governance")


def test_links_inside_the_tree_are_followed(governance: Write) -> None:
    root = governance(FILES)
    before = load(root).digest
    # The way mounted configuration looks: every name is a link into a hidden, dated folder.
    (root / ".data").mkdir()
    shutil.move(root / "acme", root / ".data" / "acme")
    (root / "acme").symlink_to(".data/acme")
    assert load(root).digest == before


@pytest.mark.parametrize("place", ["linked", "acme/linked", "acme/support/agents/x.yaml", "acme/org.yaml"])
def test_links_out_of_the_tree_are_refused(governance: Write, tmp_path: Path, place: str) -> None:
    root = governance(FILES)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "org.yaml").touch()
    (root / place).unlink(missing_ok=True)
    (root / place).symlink_to(outside / "org.yaml" if place.endswith(".yaml") else outside)
    with pytest.raises(ConfigError, match="link that leaves"):
        load(root)


@pytest.mark.parametrize("target", ["nowhere", "x.yaml"])
def test_links_to_nowhere_and_in_circles_are_refused(governance: Write, target: str) -> None:
    root = governance(FILES)
    (root / "acme/support/agents/x.yaml").symlink_to(target)
    with pytest.raises(ConfigError, match="cannot be followed"):
        load(root)


def test_named_pipe_is_refused_and_not_waited_for(governance: Write) -> None:
    root = governance(FILES)
    os.mkfifo(root / "acme/support/agents/x.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load(root)


def test_limits_of_size_number_and_depth_name_their_setting(governance: Write) -> None:
    root = governance(FILES)
    load(root, Config(max_entries=13))
    with pytest.raises(ConfigError, match="more than 12 files"):
        load(root, Config(max_entries=12))
    with pytest.raises(ConfigError, match=r"larger than max_file_size \(32B\)"):
        load(root, Config(max_file_size=Size("32B")))
    with pytest.raises(ConfigError, match="deeper than 2"):
        load(root, Config(max_nesting=2))


@settings(PATIENT, max_examples=200)
@given(nano_usd=st.integers(0, 2**62), quote=st.sampled_from(["", "'", '"']))
def test_every_amount_is_read_exactly_as_written(governance: Write, nano_usd: int, quote: str) -> None:
    text = f"{Decimal(nano_usd) / USD:f}" if nano_usd < 10**18 else f"{nano_usd // USD}.{nano_usd % USD:09d}"
    root = governance({"acme/org.yaml": f"budgets: {{daily: {{usd: {quote}{text}{quote}}}}}"})
    assert load(root).scope_limits()["acme"].daily_nano_usd == nano_usd


# Files that belong in the tree; hypothesis finds their names in the code.
OURS = {"platform.yaml", "org.yaml", "tenant.yaml"}
# A name a file system can hold, that is neither a valid id nor hidden nor a note nor one of these.
HOSTILE = (
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=50)
    | st.sampled_from(
        ["%2f", "%2e%2e", "CON", "a=b", "a" * 41, "-a", "a-", "A", "é", "\udcff", "a\n", " a", "*", "a.b"]
    )
).filter(
    lambda name: (
        name not in OURS and not ID_PATTERN.fullmatch(name) and not name.startswith(".") and not name.endswith(".md")
    )
)


@settings(PATIENT, max_examples=300)
@given(name=HOSTILE, place=st.sampled_from(["{}/", "acme/{}/", "acme/support/agents/{}.yaml"]))
def test_hostile_name_in_the_tree_is_a_config_error(governance: Write, name: str, place: str) -> None:
    root = governance(FILES)
    path = root / place.format(name)
    path.touch() if place.endswith(".yaml") else path.mkdir()
    try:
        with pytest.raises(ConfigError, match="not a valid id") as refusal:
            load(root)
    finally:
        path.unlink() if path.is_file() else path.rmdir()
    # A message that cannot be encoded could not be shown.
    refusal.value.diagnostics().encode("utf-8")
