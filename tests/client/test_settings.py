"""Where an agent's settings come from, and what is refused before the first question."""

import pytest
from spanward_client import Settings, SettingsError


def test_nothing_set_means_loopback_closed_and_five_seconds() -> None:
    assert Settings.from_env({}) == Settings(
        endpoint="http://127.0.0.1:4320", api_key="", fail_mode="closed", timeout_s=5.0
    )


def test_every_variable_is_read() -> None:
    env = {
        "SPANWARD_ENDPOINT": "https://spanward.example:8443",
        "SPANWARD_API_KEY": "key-1",
        "SPANWARD_FAIL_MODE": "open",
        "SPANWARD_TIMEOUT": "0.25",
    }
    assert Settings.from_env(env) == Settings(
        endpoint="https://spanward.example:8443", api_key="key-1", fail_mode="open", timeout_s=0.25
    )


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ("x-api-key=abc", "abc"),
        ("X-API-Key = abc ", "abc"),
        ("authorization=Bearer%20abc", "abc"),
        ("Authorization=bearer abc", "abc"),
        ("team=a,x-api-key=abc%3D%3D,other=b", "abc=="),
        ("authorization=Bearer%20second,x-api-key=first", "first"),
        ("authorization=Basic%20abc", ""),
        ("x-api-key=", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_the_key_of_the_otlp_exporter_is_the_fallback(headers: str, key: str) -> None:
    assert Settings.from_env({"OTEL_EXPORTER_OTLP_HEADERS": headers}).api_key == key


def test_the_clients_own_key_wins_over_the_exporters() -> None:
    env = {"SPANWARD_API_KEY": "own", "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=exporter"}
    assert Settings.from_env(env).api_key == "own"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SPANWARD_ENDPOINT", "127.0.0.1:4320", "SPANWARD_ENDPOINT"),
        ("SPANWARD_ENDPOINT", "ftp://127.0.0.1", "not an http address"),
        ("SPANWARD_ENDPOINT", "http://127.0.0.1:port", "not an http address"),
        ("SPANWARD_ENDPOINT", "http://[::1", "not an http address"),
        ("SPANWARD_FAIL_MODE", "maybe", "closed or open"),
        ("SPANWARD_TIMEOUT", "soon", "SPANWARD_TIMEOUT"),
        ("SPANWARD_TIMEOUT", "0", "SPANWARD_TIMEOUT"),
        ("SPANWARD_TIMEOUT", "nan", "SPANWARD_TIMEOUT"),
        ("SPANWARD_TIMEOUT", "inf", "SPANWARD_TIMEOUT"),
        ("SPANWARD_API_KEY", "key\n1", "SPANWARD_API_KEY"),
        ("SPANWARD_API_KEY", "schlüssel", "SPANWARD_API_KEY"),
    ],
)
def test_a_setting_that_cannot_work_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env({variable: value})


def test_the_key_is_never_printed() -> None:
    assert "key-1" not in repr(Settings(api_key="key-1"))
