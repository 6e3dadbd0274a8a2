"""What the platform team writes in `governance/`: one YAML file each for the platform, org, tenant and agent.

    governance/platform.yaml   (may be left out)
    governance/ORG/org.yaml
    governance/ORG/TENANT/tenant.yaml
    governance/ORG/TENANT/agents/AGENT.yaml

The folder and file names are the ids; the files hold the rest. The JSON Schema for editors is
`schemas/governance.schema.json`, generated from these types.
"""

from typing import Annotated, Literal

import msgspec

Mode = Literal["observe", "warn", "enforce"]
Unit = Literal["usd", "tokens"]
UNITS: tuple[Unit, Unit] = ("usd", "tokens")
MAX_TOKENS = 2**62

Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that may be used in one calendar window: `usd` as a decimal string or whole number, `tokens`, or both.

    Tokens are all input, cached included, and all output, reasoning included.
    """

    usd: str | int | None = None
    tokens: Tokens | None = None


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Daily and monthly limits of one scope; a window left out is not limited here.

    `mode` says what a limit does: `observe` only counts, `warn` lets a call pass and says so in the answer,
    `enforce` refuses it. A scope without one has its parent's, and the platform `enforce`.
    """

    daily: Limit | None = None
    monthly: Limit | None = None
    mode: Mode | None = None


class PlatformFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`platform.yaml`: everything there is. `time_zone` (IANA name) is that of organisations without their own."""

    display_name: str = ""
    time_zone: str = "UTC"
    budgets: Budgets = Budgets()


class OrgFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`org.yaml`: an organisation. `time_zone` (IANA name) starts its budget days and months; without one it keeps
    the platform's.
    """

    display_name: str = ""
    time_zone: str | None = None
    budgets: Budgets = Budgets()


class TenantFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tenant.yaml`: a workspace. Without `time_zone` it keeps its organisation's."""

    display_name: str = ""
    time_zone: str | None = None
    budgets: Budgets = Budgets()


class AgentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`agents/AGENT.yaml`: one agent; its windows follow its tenant's time zone."""

    display_name: str = ""
    budgets: Budgets = Budgets()


class ScopeLimits(msgspec.Struct, frozen=True):
    """What the files say of one scope once inheritance is resolved. USD in nano-USD, `None` = no limit."""

    scope: str
    time_zone: str
    daily_nano_usd: int | None = None
    monthly_nano_usd: int | None = None
    daily_tokens: int | None = None
    monthly_tokens: int | None = None
    mode: Mode = "enforce"

    def limit(self, window: str, unit: Unit) -> int | None:
        """The limit of one window in one unit."""
        if unit == "usd":
            return self.daily_nano_usd if window == "daily" else self.monthly_nano_usd
        return self.daily_tokens if window == "daily" else self.monthly_tokens

    @property
    def limited(self) -> bool:
        """True when any window has a limit."""
        return (self.daily_nano_usd, self.monthly_nano_usd, self.daily_tokens, self.monthly_tokens) != (None,) * 4
