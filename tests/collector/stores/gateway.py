"""An executable in, a real S3 store with Object Lock on a free port out: versitygw over a folder."""

import os
import socket
import subprocess
import time
from pathlib import Path

import urllib3

START_S = 30
ACCESS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret123"}


class Gateway:
    """One store; it can be killed and started again on the same port and folder."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        for name in ("iam", "versions", "data"):
            (folder / name).mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        folders = ["--versioning-dir", str(self._folder / "versions"), str(self._folder / "data")]
        address = ["--port", f"127.0.0.1:{self._port}", "--iam-dir", str(self._folder / "iam")]
        roots = {"ROOT_ACCESS_KEY": ACCESS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": ACCESS["AWS_SECRET_ACCESS_KEY"]}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *address, "posix", *folders], env={**os.environ, **roots}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib3.request("GET", f"http://127.0.0.1:{self._port}/", retries=False, timeout=1)
            except urllib3.exceptions.HTTPError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Take it away, as a power cut does."""
        self._process.kill()
        self._process.wait()

    def address(self, place: str) -> str:
        """The address of `BUCKET[/PREFIX]` in it."""
        return f"s3://{place}?endpoint=http://127.0.0.1:{self._port}"
