"""Configuration: defaults, files, overrides, and what a typo is told."""

import subprocess
from pathlib import Path

import pytest
import yaml

from collector import config, reference
from collector.config import Config, dump, load
from schemas.errors import ConfigError
from schemas.quantities import Duration, Size
from tests.harness import SPANWARD


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spanward.yaml"
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    assert load(None).receivers.otlp.protocols.http.endpoint == "127.0.0.1:4318"


def test_a_file_and_an_override_are_laid_over_the_defaults(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "receivers:\n  otlp:\n    limits: {max_body: 1MiB}\nprocessors:\n  budgets: {hold_ttl: 90s}\n",
    )
    loaded = load(path, ("receivers.otlp.limits.max_items=7", "exporters.ledger.seal_rows=9"))
    assert loaded.receivers.otlp.limits.max_body.bytes == 2**20
    assert loaded.receivers.otlp.limits.max_items == 7
    assert loaded.processors.budgets.hold_ttl.ns == 90 * 10**9
    assert loaded.exporters.ledger.seal_rows == 9
    assert loaded.receivers.otlp.protocols.grpc.endpoint == "127.0.0.1:4317"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recievers: {}\n", ["spanward.yaml:1", "recievers", "Did you mean 'receivers'?"]),
        (
            "receivers:\n  otlp:\n    protocols:\n      http:\n        endpiont: 127.0.0.1:1\n",
            ["spanward.yaml:5", "receivers.otlp.protocols.http.endpiont", "Did you mean 'endpoint'?"],
        ),
        ("processors:\n  budgets:\n    hold_ttl: 15 minutes\n", ["spanward.yaml:3", "hold_ttl", "15m"]),
        ("processors:\n  budgets:\n    on_unknown_price: perhaps\n", ["spanward.yaml:3", "on_unknown_price"]),
        ("receivers:\n  otlp:\n    limits:\n      max_items: many\n", ["spanward.yaml:4", "max_items"]),
        ("receivers: 5\n", ["spanward.yaml:1", "receivers"]),
        ("receivers: {otlp: {}}\nreceivers: {}\n", ["spanward.yaml:2", "twice"]),
        ("service: {deployment: '${env:SURELY_NOT_SET}'}\n", ["spanward.yaml:1", "SURELY_NOT_SET", ":-default"]),
        ("a: [\n", ["spanward.yaml", "not valid YAML"]),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_was_probably_meant(
    tmp_path: Path, text: str, says: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    for part in says:
        assert part in caught.value.diagnostics()


@pytest.mark.parametrize("override", ["receivers", "=1", "receivers.otpl.group_items=1"])
def test_a_mistaken_override_is_told(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load(None, (override,))


def test_serve_with_a_typo_ends_at_once_with_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "receivers:\n  otlp:\n    protocolls: {}\n")
    command = [str(SPANWARD), "serve", "--data", str(tmp_path / "data"), "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{path}:3: receivers.otlp.protocolls is not a known key. Did you mean 'protocols'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_environment_variables_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWARD_TEST_NAME", "gov.example")
    text = "service: {deployment: '${env:SPANWARD_TEST_NAME}/${env:SPANWARD_TEST_STAGE:-prod}'}\n"
    assert load(written(tmp_path, text)).service.deployment == "gov.example/prod"


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    again = load(written(tmp_path, dump(Config())))
    assert dump(again) == dump(Config())
    assert yaml.safe_load(dump(Config()))["processors"]["budgets"]["on_unknown_price"] == "deny"


def test_every_setting_is_in_the_reference_with_its_meaning() -> None:
    """`python -m collector.reference` writes the page anew."""
    assert reference.PAGE.read_text() == reference.page()
    rows = [line for line in reference.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert all(len(row.split("|")[3].strip()) > 10 for row in rows), "a setting has no docstring"


def test_durations_and_sizes_are_exact() -> None:
    assert (Duration("20ms").ns, Duration("1d").ns) == (20_000_000, 86_400 * 10**9)
    assert (Size("16MiB").bytes, Size("10GB").bytes) == (2**24, 10**10)
    for bad in ("", "15", "m", "1.5h", "-1s", "1 h", "9" * 16 + "s"):
        with pytest.raises(ConfigError):
            Duration(bad)


def test_config_is_what_the_module_says_it_gathers() -> None:
    assert set(config.Config.__struct_fields__) == {"receivers", "processors", "exporters", "extensions", "service"}
