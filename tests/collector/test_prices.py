"""`spanward prices`: what is shown is what calls are costed at; what is wrong is told with its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from collector.config import load, load_overlay, pricing_settings, validate
from collector.prices import prices
from collector.pricing.book import PriceBook
from schemas.errors import ConfigError

OVERLAY = """\
rows:
  - provider: openai
    model: gpt-4o
    effective_from: 2026-11-01
    effective_to: 2026-11-20T12:00:00.000000001Z
    prices: {input: 2.00, output: 8.00}
    source: Contract 7
  - provider: openai
    model: gpt-4o
    effective_from: 2026-11-20T12:00:00.000000001Z
    prices: {input: 4.00}
    source: Contract 8
  - provider: bedrock
    model: "anthropic.claude-*"
    effective_from: 2026-01-01
    discount: 12.5%
    source: Programme
"""
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path, OVERLAY)


def written(folder: Path, overlay: str) -> Path:
    (folder / "prices.yaml").write_text(overlay)
    path = folder / "spanward.yaml"
    path.write_text("processors: {pricing: {overlay: prices.yaml}}\n")
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(prices, [str(word) for word in words])


def data(*words: object) -> list[dict[str, Any]]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_show_says_what_a_call_costs_and_where_that_is_known_from(config: Path) -> None:
    (shown,) = data("show", "gpt-4o", "--config", config, "--at", "2026-11-10")
    (tier,) = shown["tiers"]
    assert (shown["provider"], shown["source"]) == ("openai", f"{PriceBook().source} + Contract 7")
    assert {name: tier["usd_per_million"][name] for name in ("input", "cache_read", "output")} == {
        "input": "2",
        "cache_read": "1.25",
        "output": "8",
    }


def test_show_resolves_names_and_takes_discounts_off(config: Path) -> None:
    (shown,) = data("show", SONNET, "--config", config, "--at", "2026-11-10")
    assert (shown["provider"], shown["region"]) == ("aws.bedrock", "us")
    assert shown["tiers"][0]["usd_per_million"]["input"] == "2.8875"


def test_show_prints_a_table_with_a_line_for_each_tier() -> None:
    done = run("show", "gpt-4o", "claude-sonnet-4-5", "--at", "2026-11-10")
    head, gpt, sonnet, long = done.stdout.splitlines()
    assert head.split()[:3] == ["PROVIDER", "MODEL", "REGION"]
    assert gpt.split()[:6] == ["openai", "gpt-4o", "-", "-", "0", "2.5"]
    assert (sonnet.split()[4:6], long.split()[4:6]) == (["0", "3"], ["200000", "6"])
    assert "per million" in done.stderr


def test_show_knows_tiers_and_batch() -> None:
    listed, batch = (
        data("show", "gpt-5.5", "--at", "2026-11-10", *more)[0]["tiers"][0]["usd_per_million"]["input"]
        for more in ((), ("--tier", "batch"))
    )
    assert (listed, batch) == ("5", "2.5")


def test_show_without_a_model_shows_all_that_a_provider_sells() -> None:
    models = {shown["model"] for shown in data("show", "--provider", "anthropic")}
    assert {"claude-sonnet-4-5", "claude-haiku-4-5"} <= models
    assert {shown["provider"] for shown in data("show", "--provider", "anthropic")} == {"anthropic"}


def test_show_of_an_unknown_model_is_an_error_beside_the_data() -> None:
    done = run("show", "gpt-4o", "nobodys-model", "--json")
    known, unknown = json.loads(done.stdout)
    assert (done.exit_code, len(known["tiers"]), unknown["tiers"]) == (1, 1, [])
    assert "nobodys-model" in done.stderr


def test_check_is_content_with_a_sound_file(config: Path) -> None:
    assert data("check", "--config", config) == []


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        ("model: gpt-4o, prices: {input: 0.01}", "input: 0.01 USD is more than 10 times below the list's 2.5"),
        ("model: gpt-4o, prices: {output: 101}", "output: 101 USD is more than 10 times above the list's 10"),
        ("model: gtp-4o, discount: 5%", "The price list has no model openai/gtp-4o"),
        ("model: house-*, prices: {input: 1, output: 2}", "only this file prices it"),
        ("model: house-model, prices: {input: 1}", "this row cannot price it"),
    ],
)
def test_check_warns_of_what_may_not_be_meant(tmp_path: Path, row: str, warning: str) -> None:
    overlay = f"rows:\n  - {{provider: openai, effective_from: 2026-01-01, source: us, {row}}}\n"
    (found,) = data("check", "--config", written(tmp_path, overlay))
    assert warning in found["what"]
    assert found["place"].endswith("prices.yaml:2")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("effective_to: 2026-11-20T12:00:00.000000001Z", ""), "prices.yaml:8: this row and"),
        (("effective_to: 2026-11-20T12:00:00.000000001Z", "effective_to: 2026-10-01"), "not after it begins"),
        (("discount: 12.5%", "discount: much"), "'much' is not a discount"),
        (("discount: 12.5%", "discuont: 12.5%"), "Did you mean 'discount'?"),
        (("source: Programme", ""), "has no source"),
        (("rows:", "prices:"), "prices is not a known key"),
        (("input: 4.00", "input: dear"), "prices.yaml:8: 'dear' is not an amount"),
    ],
)
def test_check_refuses_what_is_wrong_with_its_line(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    assert change[0] in OVERLAY
    done = run("check", "--config", written(tmp_path, OVERLAY.replace(*change)))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "prices.yaml:" in done.stderr
    assert complaint in done.stderr


def test_diff_between_two_times_tells_a_change_within_a_second(config: Path) -> None:
    before, after = "2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000000001Z"
    found = data("diff", "--config", config, "--from", before, "--to", after)
    assert {(change["model"], change["class"], change["before"], change["after"]) for change in found} == {
        ("gpt-4o", "input", "2", "4"),
        ("gpt-4o", "output", "8", "10"),
    }
    assert data("diff", "--config", config, "--from", after, "--to", after) == []
    table = run("diff", "--config", config, "--from", before, "--to", after)
    assert [line.split()[-1] for line in table.stdout.splitlines()] == ["CHANGE", "+100.0%", "+25.0%"]


def test_diff_between_two_files_tells_what_they_price_differently(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OVERLAY)
    new.write_text(OVERLAY.replace("Contract 7", "Contract 9").replace("output: 8.00", "output: 8.50"))
    (change,) = data("diff", old, new, "--at", "2026-11-10")
    assert (change["model"], change["class"], change["before"], change["after"]) == ("gpt-4o", "output", "8", "8.5")


@pytest.mark.parametrize(
    "words", [(), ("--to", "2026-11-01"), ("a.yaml",), ("a.yaml", "b.yaml", "--from", "2026-11-01")]
)
def test_diff_of_nothing_is_a_mistake_of_the_command_line(words: tuple[str, ...]) -> None:
    assert run("diff", *words).exit_code == 2


def test_a_time_that_is_none_is_told() -> None:
    done = run("show", "gpt-4o", "--at", "yesterday")
    assert (done.exit_code, "'yesterday' is not a time" in done.stderr) == (1, True)


def test_the_overlay_is_found_from_the_file_that_names_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    settings = pricing_settings(load(Path("spanward.yaml")))
    assert [each.place.rsplit(":", 1)[1] for each in settings.rows] == ["2", "8", "13"]
    assert settings.rows == load_overlay(config.parent / "prices.yaml")


@pytest.mark.parametrize(("discount", "code"), [("5%", 0), ("much", 1)])
def test_validate_reads_the_overlay_too(tmp_path: Path, discount: str, code: int) -> None:
    done = CliRunner().invoke(validate, ["--config", str(written(tmp_path, OVERLAY.replace("12.5%", discount)))])
    assert (done.exit_code, "prices.yaml:13" in done.stderr) == (code, bool(code))


def test_an_overlay_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "spanward.yaml"
    path.write_text("processors: {pricing: {overlay: nowhere.yaml}}\n")
    with pytest.raises(ConfigError, match=r"Cannot read .*nowhere\.yaml"):
        pricing_settings(load(path))


def test_an_estimate_is_off_unless_it_is_asked_for() -> None:
    assert pricing_settings(load(None)).estimate is None
    asked = ("processors.pricing.unmetered=estimate", "processors.pricing.estimate_output_tokens=7")
    assert pricing_settings(load(None, asked)).estimate == (2000, 7)
    with pytest.raises(ConfigError, match="is not a call"):
        pricing_settings(load(None, ("processors.pricing.estimate_input_tokens=-1",)))
