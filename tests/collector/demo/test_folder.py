"""A fresh data directory, and nobody else's folder deleted."""

from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from collector.access.directory import load
from collector.demo.fleet import FLEET, time_zone
from collector.demo.folder import logs_of, prepare
from schemas.ids import AgentPath


def test_the_governance_files_it_writes_are_valid_and_hold_the_fleet(tmp_path: Path) -> None:
    prepare(tmp_path / "demo", keep=False).close()
    directory = load(tmp_path / "demo" / "governance")
    assert all(directory.has_agent(AgentPath.parse(agent.path)) for agent in FLEET)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    for keep in (False, True):
        with pytest.raises(click.ClickException, match="not the demo's"):
            prepare(tmp_path, keep=keep)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    prepare(tmp_path, keep=False).close()
    assert logs_of(tmp_path).is_dir()


def test_a_second_demo_starts_fresh_unless_it_is_to_keep(tmp_path: Path) -> None:
    prepare(tmp_path, keep=False).close()
    (tmp_path / "ledger").write_text("spent")
    prepare(tmp_path, keep=True).close()
    assert (tmp_path / "ledger").exists()
    prepare(tmp_path, keep=False).close()
    assert not (tmp_path / "ledger").exists()


def test_a_folder_a_demo_is_running_in_is_left_alone(tmp_path: Path) -> None:
    with prepare(tmp_path, keep=False):
        (tmp_path / "ledger").write_text("being written")
        for keep in (False, True):
            with pytest.raises(click.ClickException, match="A demo is running in"):
                prepare(tmp_path, keep=keep)
        assert (tmp_path / "ledger").exists()
    prepare(tmp_path, keep=False).close()
    assert not (tmp_path / "ledger").exists()


def test_only_its_owner_may_look_into_it(tmp_path: Path) -> None:
    prepare(tmp_path / "demo", keep=False).close()
    assert (tmp_path / "demo").stat().st_mode & 0o777 == 0o700


def test_it_is_never_committed(tmp_path: Path) -> None:
    prepare(tmp_path, keep=False).close()
    assert (tmp_path / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("clock", "zone"),
    [("00:00", "UTC"), ("12:00", "UTC"), ("23:44", "UTC"), ("23:45", "Etc/GMT-6"), ("23:59", "Etc/GMT-6")],
)
def test_no_day_ends_in_the_middle_of_a_demo(clock: str, zone: str) -> None:
    hour, minute = map(int, clock.split(":"))
    assert time_zone(datetime(2026, 11, 24, hour, minute, tzinfo=UTC)) == zone
