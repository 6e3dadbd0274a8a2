"""No notification reaches an address inside, whatever its name, spelling, redirect or second look at DNS says.

What others got wrong: MLflow GHSA-7gwp-5pfp-969j (redirects and DNS rebinding beat a check of the URL),
GHSA-h7x2-h6g9-p789, langfuse #8522.
"""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.notifications.config import Apprise, Email, Slack, Target
from collector.notifications.courier import Courier, Outcome
from collector.notifications.guard import refusal
from schemas.quantities import Secret
from tests.collector.notifications.receivers import HttpReceiver, MailReceiver
from tests.collector.notifications.test_targets import NOTICE

OPENED = Callable[..., Any]

PUBLIC = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8")
PRIVATE = (
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.8.8.8", "100.64.0.1", "192.0.0.8",
    "192.88.99.1", "198.18.0.1", "::1", "fd12::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1",
    "2002:a00:1::1", "2001:db8::1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "169.254.170.2", "169.254.1.1", "168.63.129.16", "100.100.100.200", "192.0.0.192",
    "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%lo", "0.0.0.0", "::", "224.0.0.1", "239.255.255.250",
    "ff02::1", "240.0.0.1", "255.255.255.255", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "::a9fe:a9fe", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_connected_to(address: str) -> None:
    assert refusal(address, allow_private=False) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_unless_it_is_allowed(address: str) -> None:
    assert refusal(address, allow_private=False)
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_metadata_link_local_multicast_and_what_is_no_address_are_always_refused(address: str) -> None:
    assert refusal(address, allow_private=True)
    assert refusal(address, allow_private=False)


def attempt(target: Target) -> Outcome:
    courier = Courier(target, timeout_s=10)
    outcome = courier.send(NOTICE)
    courier.rest()
    return outcome


def run(script: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: a guard cannot be taken back."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_no_spelling_of_this_machine_is_connected_to(opened: OPENED) -> None:
    receiver = opened(HttpReceiver())
    script = f"""
        from collector.notifications.config import Apprise, Slack
        from collector.notifications.guard import install
        from collector.notifications.senders import sender
        from schemas.quantities import Secret
        from tests.collector.notifications.test_targets import NOTICE

        install(allow_private=False)
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"):
            for target in (
                Slack(name="s", url=Secret(f"https://{{host}}:{receiver.port}/")),
                Apprise(name="a", url=Secret(f"json://{{host}}:{receiver.port}/")),
            ):
                print(bool(sender(target, timeout_s=5)(NOTICE).error))
    """
    done = run(script)
    assert done.stdout.split() == ["True"] * 12, done.stderr
    assert receiver.asked == 0


def test_a_refusal_says_the_address_and_how_to_allow_it(opened: OPENED) -> None:
    receiver = opened(HttpReceiver())
    sentence = "127.0.0.1 is refused: it is loopback. Set allow_private: true if that is meant."
    assert attempt(Slack(name="s", url=Secret(f"https://localhost:{receiver.port}/"))).error.endswith(sentence[9:])
    assert attempt(Apprise(name="a", url=Secret(f"json://127.0.0.1:{receiver.port}/"))).error == sentence
    assert receiver.asked == 0


def test_mail_servers_are_guarded_too(opened: OPENED) -> None:
    receiver = opened(MailReceiver())
    target = Email(
        name="m", host="127.0.0.1", port=receiver.port, sender="a@x.org", to=("b@x.org",), security="none"
    )  # fmt: skip
    assert "loopback" in attempt(target).error
    assert receiver.mails == []


def test_a_name_that_resolves_to_another_address_the_second_time_is_refused() -> None:
    """Rebinding: the first answer is public, what is connected to is not. The check is at the socket, so it holds."""
    script = """
        import socket, threading
        from collector.notifications.config import Apprise, Slack
        from collector.notifications.guard import install
        from collector.notifications.senders import sender
        from schemas.quantities import Secret
        from tests.collector.notifications.test_targets import NOTICE

        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        answers = []

        def rebinding(host, port, *_arguments, **_options):
            answers.append(host)
            address = "203.0.113.9" if len(answers) == 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        refused = install(allow_private=False)
        socket.getaddrinfo = rebinding
        assert socket.getaddrinfo("hooks.example.com", port)[0][4][0] == "203.0.113.9"
        for target in (
            Slack(name="s", url=Secret(f"https://hooks.example.com:{port}/")),
            Apprise(name="a", url=Secret(f"jsons://hooks.example.com:{port}/")),
        ):
            assert sender(target, timeout_s=5)(NOTICE).error
        assert len(answers) >= 3 and len(refused) >= 2, (answers, refused)
        assert all("127.0.0.1 is refused: it is loopback" in line for line in refused)
        listener.setblocking(False)
        try:
            listener.accept()
        except BlockingIOError:
            print("nobody came")
    """
    done = run(script)
    assert done.stdout == "nobody came\n", done.stderr


def test_no_program_is_started_past_the_guard() -> None:
    script = (
        "import os, subprocess\nfrom collector.notifications.guard import install\ninstall(allow_private=True)\n"
        "for start in (lambda: subprocess.run(['true']), lambda: os.system('true'), os.fork):\n"
        "    try:\n        start()\n    except PermissionError:\n        print('refused')\n"
    )
    assert run(script).stdout.split() == ["refused"] * 3


def test_a_socket_of_the_file_system_is_refused(tmp_path: Path) -> None:
    script = (
        "import socket\nfrom collector.notifications.guard import install\ninstall(allow_private=True)\n"
        f"socket.socket(socket.AF_UNIX).connect({str(tmp_path / 'x')!r})\n"
    )
    assert "is refused: it is not an address" in run(script).stderr
