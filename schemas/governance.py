"""What the platform team writes in `governance/`: one YAML file each for org, tenant and agent.

    governance/ORG/org.yaml
    governance/ORG/TENANT/tenant.yaml
    governance/ORG/TENANT/agents/AGENT.yaml

The folder and file names are the ids; the files hold the rest. The JSON Schema for editors is
`schemas/governance.schema.json`, generated from these types.
"""

import msgspec


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that may be spent in one calendar window. `usd` is a decimal string or whole number."""

    usd: str | int


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Daily and monthly limits of one scope; a window left out is not limited here."""

    daily: Limit | None = None
    monthly: Limit | None = None


class OrgFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`org.yaml`: an organisation. `time_zone` (IANA name) starts its budget days and months."""

    display_name: str = ""
    time_zone: str = "UTC"
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
    """What the files say of one scope once inheritance is resolved. Amounts in nano-USD, `None` = no limit."""

    scope: str
    time_zone: str
    daily_nano_usd: int | None
    monthly_nano_usd: int | None
