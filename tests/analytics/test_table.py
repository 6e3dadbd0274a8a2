"""What a person sees: the page as it looks, at any width, and nothing a payload could do to the terminal."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from analytics.formats import table
from analytics.formats.layout import printable
from schemas.tables import EntryKind
from tests.analytics.asking import answer, written
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, failed, unmetered

STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def fleet(ledger: Written) -> Path:
    """Three agents, of which one has used up its budget."""
    ledger.book(
        call("summariser", input_tokens=1_204_000, output_tokens=80_100, cost_nano_usd=228_660_000),
        unmetered("summariser"),
        call("researcher", model="gpt-5-mini-2025-08-07", subject="gpt-5-mini-2025-08-07", reasoning_tokens=12),
        call("looper", input_tokens=99_000_000, cache_read_tokens=4_096, cost_nano_usd=50_000_012_345),
        failed("looper"),
        {
            "kind": EntryKind.CROSSING,
            "agent": "looper",
            "subject": "acme/support/looper",
            "outcome": "block",
            "message": "acme/support/looper has used 100 % of its daily budget of 50 USD; it resets at midnight UTC.",
        },
        {"kind": EntryKind.DECISION, "agent": "looper", "subject": "gpt-4o-mini", "outcome": "deny"},
    )
    ledger.seal()
    return ledger.data_dir


def page(data_dir: Path, name: str, *, width: int | None = None, **query: object) -> str:
    return written(answer(data_dir, name, **query), "table", width=width).decode()


def shown(text: str) -> str:
    return STYLE.sub("", text)


def test_spend_as_it_is_seen(fleet: Path) -> None:
    assert page(fleet, "spend") == dedent("""\
        Spend by agent · all time

        agent       calls  unmetered        input  cache read  output  reasoning      cost USD  failed
        ──────────────────────────────────────────────────────────────────────────────────────────────
        looper          1          0   99,000,000       4,096      20          0  50.000012345       1
        researcher      1          0          100           0      20         12   0.000027000       0
        summariser      2          1    1,204,000           0  80,100          0   0.228660000       0
        ──────────────────────────────────────────────────────────────────────────────────────────────
        total           4          1  100,204,100       4,096  80,140         12  50.228699345       1

        complete: received 5 = stored 5 + duplicate 0 + rejected 0; 1 call unmetered (cost unknown)
        """)


def test_activity_as_it_is_seen_on_a_terminal_of_100_columns(fleet: Path) -> None:
    happened = page(
        fleet, "activity", width=100, from_ns=NOON_NS, where={"kind": ("call", "budget_crossing", "decision")}
    )
    assert shown(happened) == dedent("""\
        Activity · since 2026-11-24 12:00 UTC

        time                 kind             agent       subject                 outcome      cost USD
        ───────────────────────────────────────────────────────────────────────────────────────────────
        2026-11-24 12:00:00  call             summariser  gpt-4o-mini-2024-07-18  ok        0.228660000
        2026-11-24 12:00:00  call             summariser  gpt-4o-mini-2024-07-18  ok                  –
        2026-11-24 12:00:00  call             researcher  gpt-5-mini-2025-08-07   ok        0.000027000
        2026-11-24 12:00:00  call             looper      gpt-4o-mini-2024-07-18  ok       50.000012345
        2026-11-24 12:00:00  call             looper      gpt-4o-mini-2024-07-18  error               –
        2026-11-24 12:00:00  budget_crossing  looper      acme/support/looper     block               –
                             acme/support/looper has used 100 % of its daily budget of 50 USD; it resets at
                             midnight UTC.
        2026-11-24 12:00:00  decision         looper      gpt-4o-mini             deny                –

        complete: received 5 = stored 5 + duplicate 0 + rejected 0; 1 call unmetered (cost unknown)
        """)


def test_on_a_narrow_terminal_details_leave_first_and_are_named(fleet: Path) -> None:
    narrow = shown(page(fleet, "spend", width=80))
    assert all(cell_len(line) <= 80 for line in narrow.splitlines())
    assert "Not shown at this width: reasoning_tokens, failed_calls." in narrow
    assert "cache read" in narrow


def test_on_a_narrow_terminal_names_are_shortened_before_numbers(fleet: Path) -> None:
    narrow = shown(page(fleet, "spend", by=("org", "tenant", "agent", "model"), width=100))
    assert all(cell_len(line) <= 100 for line in narrow.splitlines())
    assert re.search(r"gpt-4o-mini-20\S*…", narrow)
    assert "50.000012345" in narrow


def test_piped_output_is_never_shortened(fleet: Path) -> None:
    piped = page(fleet, "spend", by=("org", "tenant", "agent", "provider", "model", "day"))
    assert "…" not in piped
    assert max(map(len, piped.splitlines())) > 120
    assert "\x1b" not in piped


def test_the_last_line_is_the_completeness(fleet: Path, tmp_path: Path) -> None:
    for directory in (fleet, tmp_path):
        for name in ("spend", "activity"):
            assert page(directory, name).splitlines()[-1].startswith("complete: received ")


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    assert page(tmp_path, "spend", to_ns=NOON_NS) == dedent("""\
        Spend by agent · before 2026-11-24 12:00 UTC

        Nothing is recorded that matches.

        complete: received 0 = stored 0 + duplicate 0 + rejected 0
        """)


def test_the_period_is_said_in_the_time_zone_asked_for(tmp_path: Path) -> None:
    asked = page(tmp_path, "spend", from_ns=NOON_NS - 21 * HOUR_NS, to_ns=NOON_NS, time_zone="Asia/Tokyo")
    assert asked.startswith("Spend by agent · 2026-11-24 to 2026-11-24 21:00 Asia/Tokyo\n")


def test_colour_is_for_the_terminal_and_only_without_no_color(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = page(fleet, "activity", width=100)
    assert "\x1b[31mdeny" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = page(fleet, "activity", width=100)
    assert "\x1b[3" not in plain
    assert shown(plain) == shown(coloured)


def test_a_long_report_ends_with_a_word_about_the_rest(ledger: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 3)
    ledger.book(*(call(f"agent-{n}") for n in range(4)))
    ledger.seal()
    long = page(ledger.data_dir, "spend")
    assert "agent-2" in long
    assert "agent-3" not in long
    assert "The first 3 rows; csv, json and parquet have all of them." in long
    assert "total" not in long


def test_what_a_payload_says_cannot_touch_the_terminal(ledger: Written) -> None:
    ledger.book(call("a\x1b[2J\nb", subject="\u202etxt.exe", message="\r\x9b31mred\ttab"))
    ledger.seal()
    seen = page(ledger.data_dir, "activity")
    assert r"a\x1b[2J\nb" in seen
    assert r"\u202etxt.exe" in seen
    assert r"\r\x9b31mred\ttab" in seen


@given(st.text())
def test_only_what_prints_is_printed(text: str) -> None:
    assert printable(text).isprintable()
    assert printable("naïve 漢字 – ok") == "naïve 漢字 – ok"
