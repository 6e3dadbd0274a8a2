"""`spanward budgets` against a real `spanward serve`."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.harness import SPANWARD, Served

ORG = "default"


def command(served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [str(SPANWARD), "budgets", *arguments, "--data", str(served.data)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_an_operator_sees_a_budget_raises_it_and_finds_the_entry(tmp_path: Path) -> None:
    served = Served(tmp_path / "data", settings={"extensions.control.follow_interval": "50ms"})
    try:
        served.start()
        (served.data / f"governance/{ORG}/org.yaml").write_text(
            "budgets: {daily: {usd: 5, tokens: 1000}, mode: warn}\n"
        )
        told: list[dict[str, object]] = []
        while not told:
            told = json.loads(served.run("budgets", "list", "--json"))["budgets"]
        assert [(view["scope"], view["unit"], view["limit"], view["mode"]) for view in told] == [
            (ORG, "usd", "5.000000000", "warn"), (ORG, "tokens", "1000", "warn"),
        ]  # fmt: skip
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        wish = ("--scope", ORG, "--window", "daily", "--until", until, "--reason", "launch day")
        done = command(served, "increase", *wish, "--usd", "20", "--tokens", "500")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("inc_")
        assert done.stderr == (f"The daily budget of {ORG} is 20.000000000 USD and 500 tokens higher until {until}.\n")
        listed = command(served, "list")
        head, *rows = listed.stdout.splitlines()
        assert head.split()[:5] == ["SCOPE", "WINDOW", "UNIT", "MODE", "LIMIT"]
        assert [row.split()[4] for row in rows] == ["25.000000000", "1500"]
        assert "launch day" in listed.stderr
        refused = command(served, "increase", *wish, "--usd", "lots")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: `$.usd`: 'lots' is not an amount in USD.")
        served.seal()
        rows_of = served.report("activity", "--limit", "100")["rows"]
        assert any("launch day" in json.dumps(row) for row in rows_of)
    finally:
        served.close()


def test_a_directory_where_no_collector_runs_is_said_so(tmp_path: Path) -> None:
    words = [str(SPANWARD), "budgets", "list", "--data", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: No collector runs on {tmp_path}.")
