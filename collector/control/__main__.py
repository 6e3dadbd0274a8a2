"""`python -m collector.control --data DIR --fd N[,M]`: the owner's process.

Its settings come as JSON on standard input, because one of them is a secret and arguments are
public. It prints one line of JSON once it answers, and ends with its parent: when an inherited
socket reaches its end, and on Linux by a signal too.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import msgspec
import uvloop

from collector.control.process import run
from collector.control.wiring.house import Outside, Settings
from schemas.errors import ConfigError, Fatal, SpanwardError
from schemas.quantities import read_quantity

EXIT_CONFIG = 1
EXIT_FATAL = 70
_PR_SET_PDEATHSIG = 1
# What 5,000 decisions a second make in this time is looked through in a quarter of a millisecond.
_TIDY_S = 0.1
_MAX_FILES = 65_536


def main() -> int:
    """Run until told to stop; the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m collector.control")
    arguments.add_argument("--data", type=Path, required=True, help="data directory")
    arguments.add_argument("--fd", required=True, help="numbers of the inherited sockets, separated by commas")
    given = arguments.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _end_with_parent()
    _open_files()
    try:
        settings = _settings(sys.stdin.buffer.read())
        connections = [socket.socket(fileno=int(number)) for number in given.fd.split(",")]
        uvloop.run(_run(given.data, connections, settings))
    except Fatal as error:
        sys.stderr.write(f"Error: {error.diagnostics()}\n")
        return EXIT_FATAL
    except SpanwardError as error:
        sys.stderr.write(f"Error: {error.diagnostics()}\n")
        return EXIT_CONFIG
    return 0


async def _run(data_dir: Path, connections: list[socket.socket], settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tidying = asyncio.create_task(_tidy())
    await run(data_dir, settings, Outside(connections, stop, _announce))
    tidying.cancel()


async def _tidy() -> None:
    """Reference counts free what a decision makes; a full collection would look at every hold and stop all answers.

    So only what was made since the last look is looked at.
    """
    gc.disable()
    while True:
        gc.collect(0)
        gc.freeze()
        await asyncio.sleep(_TIDY_S)


def _announce(endpoints: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(endpoints) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have ended before the kernel knew that we want to be told.
    if os.getppid() != parent:
        sys.exit(EXIT_FATAL)


def _open_files() -> None:
    """Each client that listens takes a descriptor, and the usual soft limit of 1,024 is what `select` could count."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if most == resource.RLIM_INFINITY else min(most, _MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _settings(text: bytes) -> Settings:
    try:
        return msgspec.json.decode(text, type=Settings, dec_hook=read_quantity)
    except msgspec.DecodeError as error:
        raise ConfigError(f"The settings on standard input cannot be read: {error}.") from None


if __name__ == "__main__":
    sys.exit(main())
