"""The first error that is told → raised where everything that it concerns ends with it."""

import asyncio

from schemas.errors import Fatal


class Trouble:
    """Carries an error from wherever it was met to the task that waits for one."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._error: Fatal | None = None

    def tell(self, error: Exception) -> None:
        """Something failed that leaves memory half changed; the first to say so is heard."""
        if self._error is None:
            self._error = error if isinstance(error, Fatal) else _unforeseen(error)
            self._told.set()

    async def wait(self) -> None:
        """Raise the error once there is one."""
        await self._told.wait()
        assert self._error is not None, "it was told"
        raise self._error


def _unforeseen(error: Exception) -> Fatal:
    fatal = Fatal(f"Answering a request failed: {error!r}.", fix="Start again; if it repeats, report the message.")
    fatal.__cause__ = error
    return fatal
