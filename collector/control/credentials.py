"""Key texts → credentials, without asking the key store about every request.

Checking a key costs a tenth of a decision. Invariant: whatever the store refuses is refused here
within `recheck_ns`; what it refused is never remembered.
"""

from collections.abc import Callable

from collector.access.keys import Credential

# An attacker who has no key cannot add to it; agents in use at once are fewer than this.
_MAX_REMEMBERED = 10_000


class Credentials:
    """The keys that were checked a moment ago. Owned by the loop."""

    def __init__(self, authenticate: Callable[[str], Credential], *, recheck_ns: int, clock: Callable[[], int]) -> None:
        self._authenticate = authenticate
        self._recheck_ns = recheck_ns
        self._clock = clock
        self._checked: dict[str, tuple[Credential, int]] = {}

    def of(self, text: str) -> Credential:
        """Whose key this is; raises what the key store raises."""
        now = self._clock()
        known = self._checked.get(text)
        # A clock that was put back means: check again.
        if known is not None and 0 <= now - known[1] < self._recheck_ns:
            return known[0]
        self._checked.pop(text, None)
        credential = self._authenticate(text)
        if len(self._checked) >= _MAX_REMEMBERED:
            self._checked.clear()
        self._checked[text] = (credential, now)
        return credential
