"""`python -m collector.control.doors` writes `schemas/control.openapi.json`; `--check` only compares it.

The routes are those of a real owner, made on an empty data directory and never started.
"""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from collector.control.doors.api import Api
from collector.control.doors.config import Config
from collector.control.doors.request import Route
from collector.control.wiring.house import Outside, Settings
from collector.control.wiring.served import routes_of

FILE = Path("schemas/control.openapi.json")


async def document() -> str:
    """The OpenAPI document as it is published."""
    with TemporaryDirectory() as folder:
        described = Api(published_routes(Path(folder)), on_fatal=_raise).description
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def published_routes(data: Path) -> list[Route]:
    """The routes of an owner on an empty folder; a loop must be running."""
    for needed in ("state", "governance"):
        (data / needed).mkdir()
    settings = Settings(control=Config(endpoint="127.0.0.1:0"), dedupe_keys=1, operator_token="")
    return routes_of(data, settings, Outside([], asyncio.Event(), lambda _: None))


def main() -> int:
    """Write the file, or with `--check` compare it."""
    text = asyncio.run(document())
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text(encoding="utf-8") == text else 1
    FILE.write_text(text, encoding="utf-8")
    return 0


def _raise(error: Exception) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main())
