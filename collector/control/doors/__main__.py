"""`python -m collector.control.doors` writes `schemas/control.openapi.json`; `--check` only compares it.

The routes are those of a real owner, made on an empty data directory and never started.
"""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from collector.control.doors.api import Api
from collector.control.process import Settings, routes_of

FILE = Path("schemas/control.openapi.json")


async def document() -> str:
    """The OpenAPI document as it is published."""
    with TemporaryDirectory() as folder:
        data = Path(folder)
        for needed in ("state", "governance"):
            (data / needed).mkdir()
        routes = routes_of(data, Settings(dedupe_keys=1, operator_token=""))
    return json.dumps(Api(routes, on_fatal=_raise).description, indent=2, ensure_ascii=False) + "\n"


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
