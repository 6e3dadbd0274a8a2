"""Attributes → canonical columns: which dialect reads a record, and what its table says of it."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from collector.dialects import DIALECTS
from collector.dialects.dialect import TEXT_COLUMNS, TOKEN_COLUMNS, Dialect, wanted_keys
from collector.pricing.names import Names
from collector.processors.normalise import normalise
from collector.receivers.decode import BASE_FIELDS
from tests.collector.processors.received import IDENTITY, PLAIN, Row, read, read_one, received

SCOPED = Dialect(name="scoped", title="Scoped", source="", scopes=("lib.",), columns={"operation": ("other",)})
EVENTS = Dialect(
    name="events",
    title="Events",
    source="",
    columns={"operation": ("word",), "input_tokens": ("n",)},
    events={"done": "chat", "done.again": "echo"},
    books="logs",
)
NAMED = replace(
    PLAIN,
    marks=(),
    scopes=("lib.",),
    span_names={"llm": "chat", "llm again": "echo"},
    agent_from_span_name=("._run", ".go"),
)


def test_the_first_dialect_that_recognises_a_record_reads_it() -> None:
    both = {"op": "chat", "other": "x", "scope_name": "lib.sub"}
    assert read_one(both, dialects=(PLAIN, SCOPED))["dialect"] == "plain"
    assert read_one(both, dialects=(SCOPED, PLAIN))["dialect"] == "scoped"


def test_a_record_is_recognised_by_a_mark_a_scope_or_an_events_name() -> None:
    rows: list[Row] = [
        {"op": "chat"},
        {"scope_name": "lib.sub"},
        {"signal": "logs", "name": "done"},
        {"name": "done"},
        {"scope_name": None},
        {"scope_name": "other.lib."},
    ]
    made = read(*rows, dialects=(PLAIN, SCOPED, EVENTS))
    assert [row["dialect"] for row in made] == ["plain", "scoped", "events", None, None, None]


def test_the_first_key_that_is_present_wins_and_aliases_are_never_added() -> None:
    row = read_one({"op": "chat", "in": 7, "input_tokens": 7, "model": "gpt-4o", "answered": "gpt-4o-mini"})
    assert (row["input_tokens"], row["response_model"]) == (7, "gpt-4o")


@given(st.lists(st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)), min_size=1, max_size=9))
def test_no_count_is_ever_a_sum_of_aliases(pairs: list[tuple[int | None, int | None]]) -> None:
    made = read(*({"op": "chat", "in": first, "input_tokens": second} for first, second in pairs))
    assert [row["input_tokens"] for row in made] == [second if first is None else first for first, second in pairs]


def test_an_attribute_that_bears_a_canonical_columns_name_is_only_an_attribute() -> None:
    """Claude Code's `model` and `input_tokens` are not ours until its table says so."""
    foreign = replace(PLAIN, columns={"operation": ("op",), "request_model": ("asked",)})
    row = read_one({"op": "chat", "asked": "gpt-4o", "input_tokens": 5, "model": "x"}, dialects=(foreign, PLAIN))
    assert (row["model"], row["response_model"], row["input_tokens"]) == ("gpt-4o", None, None)


def test_no_dialect_wants_an_attribute_by_the_name_of_a_column_every_row_has() -> None:
    """Else an emitter could say whose a row is."""
    assert not wanted_keys(DIALECTS).keys() & {*IDENTITY, "received_time", *(name for name, _ in BASE_FIELDS)}


def test_no_key_is_a_count_to_one_dialect_and_a_text_to_another() -> None:
    """A key is decoded once, before it is known whose row it is on."""
    wanted = wanted_keys(DIALECTS)
    for dialect in DIALECTS:
        for column in (*TEXT_COLUMNS, *TOKEN_COLUMNS):
            for key in dialect.keys(column):
                assert wanted[key] is (int if column in TOKEN_COLUMNS else str), (dialect.name, key)


def test_attributes_end_here() -> None:
    row = read_one({"op": "chat", "cost": "1", "in": 3, "usage": "{}"})
    assert not {"op", "cost", "in", "usage"} & row.keys()


def test_the_emitters_word_is_put_into_the_conventions_and_others_are_kept() -> None:
    made = read({"op": "talk"}, {"op": "chat"}, {"op": "ponder"})
    assert [row["operation"] for row in made] == ["chat", "chat", "ponder"]


def test_a_name_stands_for_an_operation_only_where_there_is_no_word() -> None:
    lib = {"scope_name": "lib.x"}
    made = read(
        {"name": "llm", **lib},
        {"name": "llm", "op": "ponder", **lib},
        {"name": "llm of mine", **lib},
        {"name": "llm", "signal": "logs", **lib},
        dialects=(NAMED,),
    )
    assert [row["operation"] for row in made] == ["chat", "ponder", None, None]


def test_a_name_that_stands_for_a_repetition_is_believed_before_the_word() -> None:
    """`gen_ai.client.inference.operation.details` carries the operation of the call it repeats."""
    made = read(
        {"name": "llm again", "op": "chat", "scope_name": "lib.x"},
        {"name": "done.again", "word": "chat", "signal": "logs"},
        {"name": "done", "word": "embeddings", "signal": "logs"},
        dialects=(NAMED, EVENTS),
    )
    assert [row["accounting_role"] for row in made] == ["echo", "echo", "call"]
    assert made[2]["operation"] == "embeddings"


def test_an_agents_span_names_the_agent_where_no_attribute_does() -> None:
    agent = {"scope_name": "lib.x", "op": "invoke_agent"}
    made = read(
        {**agent, "name": "Researcher._run"},
        {**agent, "name": "Writer.go.go"},
        {**agent, "name": "Editor", "who": "the editor"},
        {**agent, "name": "._run"},
        {"scope_name": "lib.x", "op": "chat", "name": "Talk._run"},
        dialects=(NAMED,),
    )
    assert [row["claimed_agent"] for row in made] == ["Researcher", "Writer.go", "the editor", None, None]


def test_a_text_that_is_written_as_json_is_read_as_what_it_says() -> None:
    """MLflow: `"\\"CHAT_MODEL\\""`."""
    made = read({"op": '"talk"', "asked": '"gpt-4o"'}, {"op": "talk", "asked": '"not json'})
    assert [(row["operation"], row["request_model"]) for row in made] == [("chat", "gpt-4o"), ("chat", '"not json')]


def test_nothing_is_made_of_nothing() -> None:
    some, none = received([{"op": "chat", "in": 5}]), received([{"op": "chat", "in": 5}]).slice(0, 0)
    made = normalise(none, (PLAIN,), Names())
    assert len(made) == 0
    assert made.schema.equals(normalise(some, (PLAIN,), Names()).schema)


def test_a_row_of_no_dialect_has_no_counts_and_no_role() -> None:
    row = read_one({"name": "GET /"})
    assert (row["dialect"], row["accounting_role"], row["metered"], row["usage_rule"]) == (None,) * 4
    assert {row[name] for name in TOKEN_COLUMNS} == {None}
    assert (row["entry_kind"], row["outcome"]) == ("span", "ok")
