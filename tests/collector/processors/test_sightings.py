"""Rows of several senders in, who used which agent's key and from where out."""

import pyarrow as pa

from collector.processors.normalise import normalise
from collector.processors.sightings import sightings
from tests.collector.processors.received import NAMES, NOW_NS, PLAIN, Row, received

KEYS = {"org": "acme", "tenant": "support", "agent": "triage", "credential_id": "key-1"}


def seen(*rows: Row, owner: Row = KEYS) -> set[tuple[str, str]]:
    return {(str(row["what"]), str(row["user"])) for row in table(*rows, owner=owner)}


def table(*rows: Row, owner: Row = KEYS) -> list[dict[str, object]]:
    normalised = normalise(received([{**owner, **row} for row in rows], (PLAIN,)), (PLAIN,), NAMES)
    found: list[dict[str, object]] = pa.ipc.open_stream(sightings(normalised)).read_all().to_pylist()
    return found


def test_each_user_is_one_row_with_its_first_and_last_time() -> None:
    rows = [{"resource_host": "node-1", "start_time": NOW_NS - age, "end_time": NOW_NS - 1} for age in (90, 50, 70)]
    found = [row for row in table(*rows) if row["what"] == "host"]
    assert found == [
        {"credential_id": "key-1", "agent": "acme/support/triage", "what": "host", "user": "node-1",
         "first": NOW_NS - 90, "last": NOW_NS - 50}
    ]  # fmt: skip


def test_names_count_on_their_own_level_and_an_agent_within_an_agent_is_none() -> None:
    said = {"op": "talk", "resource_agent": "desk", "resource_host": "node-1"}
    found = seen({**said, "who": "writer"}, {**said, "who": "helper", "parent_span_id": b"p" * 8})
    assert found == {("agent", "writer"), ("process agent", "desk"), ("service", "service"), ("host", "node-1")}


def test_a_tenants_key_is_made_to_be_shared() -> None:
    assert seen({"resource_host": "node-1"}, owner=KEYS | {"agent": None}) == set()


def test_what_an_sdk_says_for_want_of_a_name_is_no_name() -> None:
    assert seen({"service_name": "unknown_service:python"}, {"service_name": None}) == set()


def test_frames_of_an_older_version_have_no_host() -> None:
    normalised = normalise(received([KEYS], (PLAIN,)), (PLAIN,), NAMES).drop_columns(["resource_host"])
    made = pa.ipc.open_stream(sightings(normalised)).read_all()
    assert made["what"].to_pylist() == ["service"]
