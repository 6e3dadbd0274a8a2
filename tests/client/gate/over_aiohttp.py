"""A provider's address in, google-genai's async answers out, made over aiohttp.

    PYTHONPATH=… python -m tests.client.gate.over_aiohttp http://127.0.0.1:1234

A program of its own, because aiohttp is not in the environment of the tests: google-genai goes another
way as soon as it is. Prints one line an answer, or what was raised.
"""

import asyncio
import sys
from typing import Any

import aiohttp
import spanward_client
from google import genai

WORDS: Any = {"model": "gemini-2.5-flash", "contents": "Why is the sky blue?"}


async def main(url: str) -> list[str]:
    """Ask once whole and once streamed."""
    async with genai.Client(api_key="none", http_options={"base_url": url}).aio as client:
        assert aiohttp.ClientSession._request.__wrapped__
        try:
            said = [(await client.models.generate_content(**WORDS)).text or ""]
            stream = await client.models.generate_content_stream(**WORDS)
            said.append(" ".join([chunk.text or "" async for chunk in stream]))
        except spanward_client.BudgetExceeded as no:
            said = [f"{type(no).__name__}: {no}"]
        return said


if __name__ == "__main__":
    spanward_client.instrument()
    sys.stdout.write("\n".join(asyncio.run(main(sys.argv[1]))))
