"""What the server tells of its own accord → the kill state of this process."""

import os
import threading

from spanward_client.feedback.follower import Follower
from spanward_client.feedback.kills import KillState
from spanward_client.settings import Settings


class _Following:
    """The follower of this process. `lock` guards it; a forked child starts without one."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.lock = threading.Lock()
        self.follower: Follower | None = None


_following = _Following()


def kill_state(settings: Settings) -> KillState | None:
    """The kill state of this process, followed from the first call on; `None` when SPANWARD_FEEDBACK is off."""
    if settings.feedback == "off":
        return None
    follower = _following.follower
    if follower is None:
        with _following.lock:
            follower = _following.follower
            if follower is None:
                follower = _following.follower = Follower(settings)
                follower.start()
    return follower.state


def stop_following() -> None:
    """End the thread; the next gated call begins anew."""
    with _following.lock:
        follower, _following.follower = _following.follower, None
    if follower is not None:
        follower.stop()
