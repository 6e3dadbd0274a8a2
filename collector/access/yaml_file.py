"""YAML bytes become a typed struct, or one error with file, line, key and the word that was meant.

Invariant: no value passes through a type it was not written in. Every scalar is taken as the text
that stands in the file, so `50.10` never is a float and the time zone or name `NO` never is false;
the struct's own types decide what a text means. Only plain `null`, `~` and nothing mean "left out".

Anchors, aliases, tags, second documents and repeated keys are refused: none is needed to write a
policy, and each can make a file mean something other than what a reviewer reads.

Leaves to callers where the bytes come from and which struct they must fit.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from typing import TypeVar

import msgspec
import yaml

from schemas.errors import ConfigError
from schemas.quantities import Duration, Secret, Size

T = TypeVar("T", bound=msgspec.Struct)

_WORDS_SHOWN = 10
# Only the Python parser lets them pass, and no text that holds one can be written anywhere.
_SURROGATE = re.compile("[\ud800-\udfff]")
_NULLS = ("", "~", "null", "Null", "NULL")
# The C parser is 20 times faster and not part of every build of PyYAML.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node(msgspec.Struct, frozen=True):
    """A value and the line it stands on. Mappings keep the order of the file."""

    line: int
    value: "str | list[Node] | dict[str, Node] | None"

    def line_of(self, path: tuple[str, ...]) -> int:
        """The line of the value at `path`, or of the nearest value above it that is written."""
        if path and isinstance(self.value, dict) and path[0] in self.value:
            return self.value[path[0]].line_of(path[1:])
        return self.line


def read_yaml(content: bytes, *, place: str, max_nesting: int) -> Node:
    """The one document in `content`; `place` names the file in errors. Raises `ConfigError`."""
    try:
        return _Reader(content.decode("utf-8"), place, max_nesting).document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _error(place, line, f"not valid YAML: {error.problem}.", fix="Check indentation and quotes.") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The latter two: bytes that are not UTF-8, and escapes beyond Unicode that PyYAML hands to chr().
        raise _error(place, 1, f"not readable as YAML: {error}.", fix="Save the file as UTF-8 text.") from error


def bind(node: Node, kind: type[T], *, place: str) -> T:
    """The struct `kind` that `node` describes; raises `ConfigError` naming line, key and nearest known key."""
    _check_shape(node, kind, place, ())
    try:
        return msgspec.convert(_plain(node), kind, strict=False, dec_hook=_quantity)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        keys = tuple(path.removesuffix("`").replace("[", ".[").split("."))
        raise _error(place, node.line_of(keys), f"{'.'.join(keys)}: {message}", fix="") from error


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """A sentence with the known word nearest to `word`, or with the known words when none is near."""
    words = {each.lower(): each for each in sorted(known)}
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {words[near[0]]!r}?"
    more = f" and {len(words) - _WORDS_SHOWN} more" if len(words) > _WORDS_SHOWN else ""
    return f"Known here: {', '.join(list(words.values())[:_WORDS_SHOWN])}{more}."


def _error(place: str, line: int, what: str, *, fix: str) -> ConfigError:
    return ConfigError(f"{place}:{line}: {what}", fix=fix)


class _Reader:
    """Events of the YAML parser to nodes. Recursion is bounded by `max_nesting`."""

    def __init__(self, text: str, place: str, max_nesting: int) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._place = place
        self._max_nesting = max_nesting

    def document(self) -> Node:
        next(self._events)  # start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Node(1, None)
        node = self._node(next(self._events), 0)
        next(self._events)  # end of the document
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refusal(after, "a second document starts here.", "Keep one document in the file.")
        return node

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._refusal(event, "anchors and aliases are not allowed.", "Write the value out.")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refusal(event, f"tags such as {tag!r} are not allowed.", "Remove the tag.")
        if isinstance(event, yaml.ScalarEvent):
            if _SURROGATE.search(event.value):
                raise self._refusal(event, "half a character (a surrogate) is written.", "Write the character itself.")
            return Node(_line(event), None if event.implicit[0] and event.value in _NULLS else event.value)
        if depth >= self._max_nesting:
            raise self._refusal(event, f"nested deeper than {self._max_nesting} levels.", "Flatten the file.")
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(_line(event), list(self._items(depth)))
        return Node(_line(event), self._mapping(depth))

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _mapping(self, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1).value
            if not isinstance(key, str):
                raise self._refusal(event, "a key must be a single word.", "Write name: value.")
            if key in found:
                raise self._refusal(
                    event, f"key {key!r} is written twice, first on line {found[key].line}.", "Keep one of them."
                )
            found[key] = self._node(next(self._events), depth + 1)
        return found

    def _refusal(self, event: yaml.Event, what: str, fix: str) -> ConfigError:
        return _error(self._place, _line(event), what, fix=fix)


def _quantity(kind: type, value: object) -> object:
    """The types of ours a struct may hold, from their text; msgspec adds the key to a ValueError."""
    assert kind in (Duration, Size, Secret), f"no text form is known for {kind}"
    if not isinstance(value, str):
        raise ValueError(f"Expected one value, got {type(value).__name__}")  # noqa: TRY004 - msgspec's contract
    try:
        return kind(value)
    except ConfigError as error:
        raise ValueError(error.diagnostics()) from error


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None, "events of a parser carry their place"
    return event.start_mark.line + 1


def _check_shape(node: Node, kind: type[msgspec.Struct], place: str, path: tuple[str, ...]) -> None:
    """Keys that are unknown or missing, and values where keys belong, in words of the file."""
    here = ".".join(path) or "the file"
    if node.value is None:
        return
    if not isinstance(node.value, dict):
        raise _error(
            place,
            node.line,
            f"{here} holds a value where keys belong.",
            fix=f"Write one of these below it: {', '.join(f'{name}:' for name in kind.__struct_encode_fields__)}.",
        )
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, child in node.value.items():
        if key not in fields:
            raise _error(
                place, child.line, f"{'.'.join((*path, key))} is not a known key.", fix=did_you_mean(key, fields)
            )
        inner = _struct_in(fields[key].type)
        if inner is not None and not (isinstance(child.value, str) and _takes_words(fields[key].type)):
            _check_shape(child, inner, place, (*path, key))
    for name, field in fields.items():
        if field.required and (name not in node.value or node.value[name].value is None):
            raise _error(place, node.line, f"{here} has no {name}.", fix=f"Add {name}: to it.")


def _struct_in(annotation: object) -> type[msgspec.Struct] | None:
    """The struct in `Struct` or in a union such as `Struct | None`, if the annotation is one of these."""
    for choice in _choices(annotation):
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


def _takes_words(annotation: object) -> bool:
    """Say whether one of a few words may stand in the place of the struct."""
    return any(typing.get_origin(choice) is typing.Literal for choice in _choices(annotation))


def _choices(annotation: object) -> tuple[object, ...]:
    union = typing.get_origin(annotation) in {types.UnionType, typing.Union}
    return typing.get_args(annotation) if union else (annotation,)


def _plain(node: Node) -> object:
    """Nodes to plain values; keys without a value count as left out."""
    if isinstance(node.value, dict):
        return {key: _plain(child) for key, child in node.value.items() if child.value is not None}
    if isinstance(node.value, list):
        return [_plain(child) for child in node.value]
    return {} if node.value is None else node.value
