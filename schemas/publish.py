"""The vocabulary's types become the JSON Schemas outsiders read: `python -m schemas.publish`.

Invariant: a published file is generated, whole and current; `--check` names each that is not, and
the tests run it. What a column or message means is written once, beside its type.

    ledger.schema.json       one entry of the ledger: every column with type, unit and meaning
    governance.schema.json   the YAML files of `governance/`, for editors
    control.schema.json      the messages of the control endpoint
    findings.schema.json     the `detail` of findings in the ledger

Leaves compatibility to reviewers: a difference in one of these files is a difference in a contract.
"""

import json
import sys
from pathlib import Path

import msgspec

from schemas.control import (
    BudgetsView,
    Decision,
    DecisionRequest,
    ErrorBody,
    Finished,
    FinishRequest,
    HoldState,
    IncreaseRequest,
    IncreaseView,
    SettleRequest,
)
from schemas.governance import AgentFile, OrgFile, PlatformFile, TenantFile
from schemas.kills import (
    Ack,
    BudgetsEvent,
    Drill,
    DrillEvent,
    EndEvent,
    KeyEvent,
    KillList,
    KillRequest,
    KillsEvent,
    PolicyEvent,
    ReasonRequest,
    Released,
    Snapshot,
)
from schemas.tables import LEDGER_COLUMNS, LEDGER_FORMAT, Column, FindingDetail

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).parent

JsonSchema = dict[str, object]

_KILL_MESSAGES = (
    KillRequest, KillList, ReasonRequest, Released, Drill, Ack,
    Snapshot, KillsEvent, BudgetsEvent, PolicyEvent, DrillEvent, KeyEvent, EndEvent,
)  # fmt: skip

_JSON_TYPES = {"string": "string", "int64": "integer", "bool": "boolean"}


def documents() -> dict[str, JsonSchema]:
    """Every published schema by its file name."""
    return {
        "ledger.schema.json": _ledger(),
        "governance.schema.json": _messages(
            "Spanward governance files",
            "PlatformFile is platform.yaml, OrgFile is ORG/org.yaml, TenantFile is ORG/TENANT/tenant.yaml, "
            "AgentFile is ORG/TENANT/agents/AGENT.yaml.",
            (PlatformFile, OrgFile, TenantFile, AgentFile),
        ),
        "control.schema.json": _messages(
            "Spanward control messages",
            "Bodies of the control endpoint. Amounts are decimal USD strings with nine places, times RFC 3339 UTC.",
            (
                DecisionRequest,
                Decision,
                SettleRequest,
                FinishRequest,
                Finished,
                HoldState,
                IncreaseRequest,
                IncreaseView,
                BudgetsView,
                ErrorBody,
                *_KILL_MESSAGES,
            ),
        ),
        "findings.schema.json": _messages(
            "Spanward findings",
            "FindingDetail is the column `detail` of ledger entries of kind `finding`; `action` names the rule.",
            (FindingDetail,),
        ),
    }


def publish(folder: Path) -> None:
    """Write every schema into `folder`."""
    for name, text in _texts().items():
        (folder / name).write_text(text, encoding="utf-8")


def outdated(folder: Path) -> list[str]:
    """Names of the schemas in `folder` that are absent or not what the types say now."""
    texts = _texts()
    return [
        name
        for name, text in texts.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> None:
    """Write the schemas, or with `--check` end with exit code 1 and the names of those not current."""
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python -m schemas.publish [--check]")
    if not arguments:
        publish(FOLDER)
    elif names := outdated(FOLDER):
        sys.exit(f"Not current: {', '.join(names)}. Run python -m schemas.publish and commit the result.")


def _texts() -> dict[str, str]:
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in documents().items()}


def _ledger() -> JsonSchema:
    return {
        "$schema": DIALECT,
        "title": "Spanward ledger entry",
        "description": "One row of the ledger. Every column is in every row; null means not known or not applicable.",
        "x-format-version": LEDGER_FORMAT,
        "type": "object",
        "properties": {column.name: _column(column) for column in LEDGER_COLUMNS},
        "required": [column.name for column in LEDGER_COLUMNS],
        "additionalProperties": False,
    }


def _column(column: Column) -> JsonSchema:
    """A column as a property; `x-type` is the exact stored type, `x-unit` what one of it is."""
    schema: JsonSchema = {
        "description": column.doc,
        "type": [_JSON_TYPES[column.type], "null"],
        "x-type": column.type,
    }
    if column.type == "int64":
        schema |= {"minimum": -(2**63), "maximum": 2**63 - 1}
    return schema | ({"x-unit": column.unit} if column.unit else {})


def _messages(title: str, description: str, types: tuple[type[msgspec.Struct], ...]) -> JsonSchema:
    """A library of definitions: a user points at the one that fits, such as `#/$defs/OrgFile`."""
    _, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    return {"$schema": DIALECT, "title": title, "description": description, "$defs": dict(sorted(definitions.items()))}


if __name__ == "__main__":
    main(sys.argv[1:])
