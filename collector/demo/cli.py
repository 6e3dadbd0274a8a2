"""`spanward demo`: one command → three real agents, one stuck in a loop, and the budget that stops it.

Exit codes: 0 the agent was stopped and the reports are printed, or Ctrl-C; 1 a part failed or no
block came in time.
"""

import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import click

from collector.demo.closing import close, next_steps
from collector.demo.folder import prepare
from collector.demo.parts import Stopped
from collector.demo.screen import Screen, console_for_stdout, screen_for
from collector.demo.stage import Stage

NEEDED = ("openai", "opentelemetry.sdk", "opentelemetry.instrumentation.genai.openai", "spanward_client")


@click.command()
@click.option("--data", "data_dir", default=".demo", show_default=True, help="Data directory; emptied first.")
@click.option("--keep", is_flag=True, help="Go on with what is in the data directory.")
@click.option("--once", is_flag=True, help="End after the reports, also on a terminal.")
@click.option(
    "--seconds", type=click.IntRange(min=1), default=240, show_default=True, help="Longest wait for the block."
)
@click.option("--latency-ms", default=200, show_default=True, help="Time the stand-in takes for an answer.")
def demo(*, data_dir: str, keep: bool, once: bool, seconds: int, latency_ms: int) -> None:
    """Three real agents, one stuck in a loop with 50 USD a day. The provider is a stand-in at real prices.

    Needs no API key and no network: everything runs on 127.0.0.1 and ends with the demo.
    """
    _require_packages()
    data = Path(data_dir)
    screen = screen_for(console_for_stdout())
    stay = screen.is_terminal and not once
    try:
        with prepare(data, keep=keep), Stage(data, screen, latency_ms=latency_ms) as stage:
            screen.say("demo", f"three agents, one stuck in a retry loop; everything is kept in {data}")
            _play(stage, seconds=seconds)
            _look_around(data, screen, stay=stay)
            while stay:
                stage.parts.check()
                time.sleep(0.5)
    except Stopped as stopped:
        screen.block(f"Stopped. Everything is in {data}.")
        sys.exit(0 if stopped.number == signal.SIGINT else 1)


def _play(stage: Stage, *, seconds: int) -> None:
    with stage.screen:
        stage.open()
        stage.follow(seconds)
    close(stage)


def _look_around(data: Path, screen: Screen, *, stay: bool) -> None:
    screen.block(f"\nEverything is in {data}. Look around:")
    for line in next_steps(data):
        screen.block(f"  {line}")
    if stay:
        screen.block("\nThe server still runs. Ctrl-C stops it and leaves the data.")


def _require_packages() -> None:
    missing = [name for name in NEEDED if not _installed(name)]
    if missing:
        raise click.ClickException(
            f"The demo's agents need {', '.join(missing)}. In a clone of Spanward, `make demo` installs everything."
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
