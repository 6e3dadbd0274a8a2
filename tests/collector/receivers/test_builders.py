"""A word from the configuration → the decoder that is used, and what happens where Numba does not work."""

import logging
import sys

import pytest

from collector.receivers import builders, decode_compiled
from collector.receivers.builders import Build, builder_factory
from collector.receivers.decode import RowLimits, TableBuilder
from collector.receivers.decode_compiled import CompiledTableBuilder
from collector.receivers.kernels.plain import entry
from schemas.errors import ConfigError

COMPILED = ("kernels.plain", "kernels.walk", "kernels.pack", "decode_compiled")


def made_by(build: Build) -> type:
    return type(build({}, RowLimits(1, 1, 1), 0))


def settled(build: Build) -> Build:
    """Once the thread that makes the compiled decoder ready, which the first group starts, has ended."""
    assert isinstance(build, builders._Changeover)
    made_by(build)
    build.thread.join()
    return build


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in COMPILED:
        monkeypatch.delitem(sys.modules, f"collector.receivers.{name}", raising=False)


def test_the_word_chooses_the_decoder() -> None:
    assert made_by(builder_factory("reference")) is TableBuilder
    assert made_by(builder_factory("compiled")) is CompiledTableBuilder


def test_auto_changes_over_to_the_compiled_decoder() -> None:
    assert made_by(settled(builder_factory("auto"))) is CompiledTableBuilder


def test_auto_decodes_while_the_compiled_decoder_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders._Changeover, "_prepare", lambda _: None)
    assert made_by(builder_factory("auto")) is TableBuilder


@pytest.mark.usefixtures("no_numba")
def test_without_numba_auto_says_so_and_keeps_to_the_reference(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert made_by(settled(builder_factory("auto"))) is TableBuilder
    assert "numba" in caplog.text


@pytest.mark.usefixtures("no_numba")
def test_without_numba_the_compiled_decoder_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="cannot be used here") as caught:
        builder_factory("compiled")
    assert "Install numba" in caught.value.fix


def test_a_decoder_that_fails_its_trial_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_compiled, "warm_up", lambda: False)
    with pytest.raises(ConfigError, match="specimen"):
        builder_factory("compiled")
    assert made_by(settled(builder_factory("auto"))) is TableBuilder


def test_kernels_are_compiled_even_where_numba_finds_no_folder_for_its_cache() -> None:
    names: dict[str, object] = {}
    exec("def successor(number):\n    return number + 1", names)
    successor = names["successor"]
    assert callable(successor)
    assert entry("int64(int64)", successor)(41) == 42
