"""YAML bytes in, structs or errors with a place out; each test runs on both of PyYAML's parsers."""

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access import yaml_file
from collector.access.yaml_file import bind, did_you_mean, read_yaml
from schemas.errors import ConfigError
from schemas.governance import OrgFile
from schemas.quantities import Duration, Secret, Size
from tests.collector.access.conftest import PATIENT


@pytest.fixture(autouse=True, params=["SafeLoader", "CSafeLoader"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_file, "_LOADER", getattr(yaml, request.param))


class Numbers(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of the types a component's settings have."""

    count: int = 0
    wait: Duration = Duration("1s")
    size: Size = Size("1B")
    token: Secret = Secret("")
    ratios: list[int] = []


def org(text: str) -> OrgFile:
    return bind(read_yaml(text.encode(), place="org.yaml", max_nesting=16), OrgFile, place="org.yaml")


@pytest.mark.parametrize("text", ["", "# a note\n", "---\n", "~", "null\n", "{}", "budgets:\n", "budgets: {daily: }\n"])
def test_file_that_says_nothing_is_the_default(text: str) -> None:
    assert org(text) == OrgFile()


@pytest.mark.parametrize("word", ["NO", "true", "50.10", "1e3", "2026-11-24", "0x10", "1_000", "12:30:00", ".inf"])
def test_scalar_is_the_text_that_was_written(word: str) -> None:
    assert org(f"display_name: {word}").display_name == word


@pytest.mark.parametrize("word", ["null", "~", ""])
def test_null_in_quotes_is_text(word: str) -> None:
    assert org(f"time_zone: '{word}'").time_zone == word


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("display_name: x\nbudgts: {}", "org.yaml:2: budgts is not", "Did you mean 'budgets'?"),
        ("budgets:\n  dayly: {usd: 1}", "org.yaml:2: budgets.dayly is not", "Did you mean 'daily'?"),
        ("budgets:\n  daily:\n    USD: 1", "org.yaml:3: budgets.daily.USD is not", "Did you mean 'usd'?"),
        ("zzz: 1", "org.yaml:1: zzz is not", "Known here: budgets, display_name, time_zone."),
        ("<<: {}", "org.yaml:1: << is not", "Known here:"),
        (
            "budgets:\n  daily: 50",
            "org.yaml:2: budgets.daily holds a value",
            "Write one of these below it: usd:, tokens:.",
        ),
        ("- a", "org.yaml:1: the file holds a value", "display_name:"),
        ("budgets:\n  mode: strict", "org.yaml:2: budgets.mode: Invalid enum value 'strict'", ""),
        ("budgets:\n  daily: {tokens: 1.5}", "org.yaml:2: budgets.daily.tokens: Expected `int", ""),
        ("budgets:\n  daily: {tokens: -1}", "org.yaml:2: budgets.daily.tokens: Expected `int` >= 0", ""),
        ("time_zone:\n  - UTC", "org.yaml:2: time_zone: Expected `str | null`, got `array`", ""),
        ("a: 1\nb: 2\na: 3", "org.yaml:3: key 'a' is written twice, first on line 1", "Keep one"),
        ("x: &a 1\ny: *a", "org.yaml:1: anchors and aliases", "Write the value out."),
        ("x: *a", "org.yaml:1: anchors and aliases", "Write the value out."),
        ("x: !!python/object/apply:os.system [id]", "org.yaml:1: tags such as", "Remove the tag."),
        ("x: !!str 1", "org.yaml:1: tags such as", "Remove the tag."),
        ("x: 1\n---\ny: 1", "org.yaml:2: a second document", "Keep one"),
        ("? [a]\n: b", "org.yaml:1: a key must be", "Write name: value."),
        ("~: b", "org.yaml:1: a key must be", "Write name: value."),
        ("x: 1\n  y: 2", "org.yaml:2: not valid YAML", "Check indentation and quotes."),
        ("[" * 10_000, "org.yaml:1: nested deeper than 16", "Flatten"),
        ("x: " + "{a: " * 40, "org.yaml:1: nested deeper than 16", "Flatten"),
    ],
)
def test_mistake_is_named_with_line_key_and_cure(text: str, place: str, fix: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        org(text)
    assert refusal.value.what.startswith(place)
    assert fix in refusal.value.fix


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a: \x00", b"a: \xed\xa0\x80", b'a: "\\UFFFFFFFF"', b'a: "\\ud800"', b"%YAML 99.1\n---\n"]
)
def test_bytes_that_are_no_yaml_text_are_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^org.yaml:1: (not|half a character) "):
        read_yaml(content, place="org.yaml", max_nesting=16)


def test_quantities_secrets_and_numbers_are_read_from_their_text() -> None:
    text = b"{count: 12, wait: 20ms, size: 16MiB, token: s3cret, ratios: [1, 2]}"
    found = bind(read_yaml(text, place="x", max_nesting=3), Numbers, place="x")
    assert (found.count, found.wait.ns, found.size.bytes, found.ratios) == (12, 20_000_000, 2**24, [1, 2])
    assert (repr(found.token), found.token.reveal()) == ("****", "s3cret")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\ncount: twelve", "Did you mean 'ratios'"),
        ("size: 1B\ncount: twelve", "x:2: count: Expected `int`, got `str`"),
        ("size: 1B\nwait: soon", "x:2: wait: 'soon' is not a duration."),
        ("size: {}", "x:1: size: Expected one value"),
        ("\nratios: [1, b]", "x:2: ratios.[1]: Expected `int`, got `str`"),
    ],
)
def test_value_of_the_wrong_type_is_named_with_its_line_and_key(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        bind(read_yaml(text.encode(), place="x", max_nesting=3), Numbers, place="x")
    assert what in refusal.value.diagnostics() or "a is not a known key" in refusal.value.what


def test_nearest_word_ignores_case_and_long_lists_are_cut() -> None:
    assert did_you_mean("utc", ["UTC", "Europe/Berlin"]) == "Did you mean 'UTC'?"
    assert did_you_mean("?", map(str, range(100, 120))).endswith("108, 109 and 10 more.")


# fmt: off
PIECES = st.sampled_from([
    "a", "budgets", "daily", "usd", ":", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&a", "*a", "!x", "|", ">",
    "'", '"', "\\u", "\\UFFFFFFFF", "%YAML 1.1\n", "---\n", "...", "#", "?", "@", "`", "\t", "\x00", "\x85", "é", "😀",
    "~", "5",
])
# fmt: on


@settings(PATIENT, max_examples=1_000)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.lists(PIECES).map(lambda p: "".join(p).encode())
)
def test_any_bytes_are_read_or_refused_with_a_config_error(content: bytes) -> None:
    said = "org.yaml:"
    try:
        bind(read_yaml(content, place="org.yaml", max_nesting=16), OrgFile, place="org.yaml")
    except ConfigError as error:
        said = error.what
    assert said.startswith("org.yaml:")
