"""A target and notices on standard input → attempts to deliver them, and their outcomes on standard output.

`python -m collector.notifications`, started by `courier`, one process for each target that has
something to send: here a library may block, leak or fail without anybody else noticing. The kernel
ends the process when an attempt takes too long, and it ends itself when its parent is gone.
"""

import logging
import os
import signal
import sys

import msgspec

from collector.notifications.courier import Job, Outcome
from collector.notifications.guard import install
from collector.notifications.senders import sender
from collector.state.notices import Notice
from schemas.quantities import read_quantity


def main() -> None:
    """Deliver until standard input ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # A library that prints must not write between the outcomes.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lines = sys.stdin.buffer
    job = msgspec.json.decode(lines.readline(), type=Job, dec_hook=read_quantity)
    refused = install(allow_private=job.target.allow_private)
    send = sender(job.target, timeout_s=job.timeout_s)
    decode = msgspec.json.Decoder(Notice).decode
    for line in lines:
        refused.clear()
        signal.setitimer(signal.ITIMER_REAL, job.timeout_s)
        outcome = send(decode(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        if outcome.error and refused:
            # The library only saw a failed connection.
            outcome = Outcome(refused[0])
        answers.write(msgspec.json.encode(outcome) + b"\n")


if __name__ == "__main__":
    main()
