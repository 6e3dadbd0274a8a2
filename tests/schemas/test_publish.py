"""The published schemas: current, complete, well-formed, and true of real messages."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.access.audit import KeyOperation, key_event
from schemas import control, publish
from schemas.governance import AgentFile, Budgets, Limit, OrgFile, PlatformFile, TenantFile
from schemas.tables import LEDGER_COLUMNS, LEDGER_FORMAT

TYPES = {
    "null": type(None), "boolean": bool, "integer": int, "number": float, "string": str, "array": list, "object": dict,
}  # fmt: skip
# fmt: off
KEYWORDS = {
    "$schema", "$defs", "$ref", "title", "description", "type", "properties", "required", "additionalProperties",
    "items", "anyOf", "enum", "default", "minimum", "maximum",
}
# fmt: on


def published(name: str) -> dict:
    return json.loads((publish.FOLDER / name).read_text(encoding="utf-8"))


def subschemas(schema: object) -> Iterator[dict]:
    """Every schema inside a schema, itself included; names of properties and definitions are not keywords."""
    if not isinstance(schema, dict):
        return
    yield schema
    for holder in ("properties", "$defs"):
        for inner in schema.get(holder, {}).values():
            yield from subschemas(inner)
    for inner in (*schema.get("anyOf", []), schema.get("items"), schema.get("additionalProperties")):
        yield from subschemas(inner)


def misfits(value: object, schema: dict, *, root: dict) -> list[str]:
    """Why `value` does not fit, by the keywords the published files use; empty when it does."""
    if "$ref" in schema:
        return misfits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root=root)
    if "anyOf" in schema:
        fits = any(not misfits(value, inner, root=root) for inner in schema["anyOf"])
        return [] if fits else [f"{value!r} fits none of anyOf"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{value!r} is not one of {schema['enum']}"]
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if type(value) not in [TYPES[name] for name in types]:
        return [f"{value!r} is not {types}"]
    items = value if isinstance(value, list) else []
    found = [reason for item in items for reason in misfits(item, schema["items"], root=root)]
    return found + (_misfits_of_object(value, schema, root=root) if isinstance(value, dict) else [])


def _misfits_of_object(value: dict, schema: dict, *, root: dict) -> list[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{name} is missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in properties:
            found += misfits(item, properties[name], root=root)
        elif others is False:
            found.append(f"{name} is unknown")
        elif isinstance(others, dict):
            found += misfits(item, others, root=root)
    return found


def test_published_files_are_current() -> None:
    assert publish.outdated(publish.FOLDER) == []


def test_check_names_a_file_that_is_not_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "FOLDER", tmp_path)
    publish.main([])
    publish.main(["--check"])
    (tmp_path / "ledger.schema.json").write_text("{}", encoding="utf-8")
    (tmp_path / "control.schema.json").unlink()
    with pytest.raises(SystemExit, match=r"^Not current: ledger\.schema\.json, control\.schema\.json\. Run python -m"):
        publish.main(["--check"])


def test_unknown_argument_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "FOLDER", tmp_path)
    with pytest.raises(SystemExit, match="usage"):
        publish.main(["--chekc"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["schemas", "schemas.publish"])
def test_check_runs_as_a_program(module: str) -> None:
    subprocess.run([sys.executable, "-m", module, "--check"], cwd=publish.FOLDER.parent, check=True)


def test_every_column_is_described() -> None:
    columns = published("ledger.schema.json")["properties"]
    assert list(columns) == [column.name for column in LEDGER_COLUMNS]
    for name, column in columns.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert len(column["description"].split()) >= 3, f"{name} has no meaning"
        assert column["description"].endswith((".", "…")), f"{name}: {column['description']}"
        # A dense number is the one integer that counts nothing but itself.
        assert name == "seq" or column["x-type"] != "int64" or column["x-unit"], f"{name} has no unit"


def test_ledger_schema_states_its_format_version() -> None:
    assert published("ledger.schema.json")["x-format-version"] == LEDGER_FORMAT


@pytest.mark.parametrize("name", publish.documents())
def test_schemas_have_the_shape_of_draft_2020_12(name: str) -> None:
    root = published(name)
    assert root["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert root["title"]
    assert root["description"]
    for schema in subschemas(root):
        assert {keyword for keyword in schema if not keyword.startswith("x-")} <= KEYWORDS
        if "$ref" in schema:
            assert schema["$ref"].removeprefix("#/$defs/") in root["$defs"]
        if "type" in schema:
            types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
            assert set(types) <= set(TYPES)
        assert set(schema.get("required", [])) <= set(schema.get("properties", {}))
        assert schema.get("enum", [None])
        assert schema.get("anyOf", [None])


@pytest.mark.parametrize(
    ("name", "definitions"),
    [
        ("governance.schema.json", {PlatformFile, OrgFile, TenantFile, AgentFile}),
        ("control.schema.json", {control.DecisionRequest, control.Decision, control.SettleRequest, control.HoldState}),
        ("control.schema.json", {control.IncreaseRequest, control.IncreaseView}),
        ("control.schema.json", {control.ErrorBody, control.Reason, control.HoldView, control.BudgetView}),
    ],
)
def test_every_message_is_defined_with_a_title_and_a_meaning(name: str, definitions: set[type]) -> None:
    defined = published(name)["$defs"]
    assert {definition.__name__ for definition in definitions} <= set(defined)
    assert all(schema["title"] and schema["description"] for schema in defined.values())


DECISION = control.Decision(
    decision_id="d",
    verdict="deny",
    reasons=[control.Reason(rule="budget", message="The daily budget is spent.")],
    hold=control.HoldView(id="h", amount_usd="0.100000000", basis="worst_case", expires_at="2026-11-24T00:00:00Z"),
    budgets=[control.BudgetView("acme", "daily", "usd", "1", "1", "0", "0", "2026-11-25T00:00:00Z")],
    epoch=0,
    valid_until="2026-11-24T00:00:00Z",
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("control.schema.json", DECISION),
        ("control.schema.json", msgspec.structs.replace(DECISION, hold=None)),
        ("control.schema.json", control.DecisionRequest(model="m", labels={"team": "a"}, max_output_tokens=5)),
        ("control.schema.json", control.SettleRequest(cost_usd="1.5")),
        ("control.schema.json", control.HoldState("h", "settled", "1", None)),
        ("control.schema.json", control.ErrorBody("a", "b", "c")),
        ("governance.schema.json", PlatformFile(budgets=Budgets(daily=Limit(tokens=5), mode="warn"))),
        ("governance.schema.json", OrgFile()),
        ("governance.schema.json", TenantFile(time_zone="Europe/Berlin")),
        ("governance.schema.json", AgentFile(display_name="x")),
    ],
)
def test_message_fits_its_schema(name: str, message: msgspec.Struct) -> None:
    root = published(name)
    schema = root["$defs"][type(message).__name__]
    value = msgspec.json.decode(msgspec.json.encode(message))
    assert misfits(value, schema, root=root) == []
    for required in schema["required"]:
        cut = {key: item for key, item in value.items() if key != required}
        assert misfits(cut, schema, root=root) == [f"{required} is missing"]


@pytest.mark.parametrize(
    "document",
    [
        {"budgets": {"weekly": None}},
        {"budgets": {"mode": "strict"}},
        {"budgets": {"daily": {"usd": 1.5}}},
        {"name": "x"},
        [],
    ],
)
def test_governance_schema_refuses_what_the_loader_refuses_or_warns_of(document: object) -> None:
    root = published("governance.schema.json")
    assert misfits(document, root["$defs"]["OrgFile"], root=root)


def test_ledger_entry_fits_its_schema() -> None:
    operation = KeyOperation(
        action="keys.create", actor="user:a@b", key_id="k", owner=("a", "b", "c"), at_ns=1, message="Done.", detail={}
    )
    row = {column.name: None for column in LEDGER_COLUMNS} | key_event(operation).row | {"seq": 0}
    schema = published("ledger.schema.json")
    assert misfits(row, schema, root=schema) == []
    assert misfits(row | {"cost_nano_usd": 1.5}, schema, root=schema) == ["1.5 is not ['integer', 'null']"]
    assert misfits(row | {"extra": 1}, schema, root=schema) == ["extra is unknown"]
