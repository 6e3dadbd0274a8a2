"""Each test's own budget book."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.governance.budgets import Config
from tests.collector.governance.bookkeeping import Book


@pytest.fixture
def open_book(tmp_path: Path) -> Iterator[Callable[..., Book]]:
    """`open_book(on_hold_expiry=…)` opens a book with these settings."""
    books: list[Book] = []

    def start(**settings: object) -> Book:
        books.append(Book(tmp_path / f"{len(books)}.db", Config(**settings)))  # type: ignore[arg-type]
        return books[-1]

    yield start
    for book in books:
        book.close()


@pytest.fixture
def book(open_book: Callable[..., Book]) -> Book:
    """A book with the default settings."""
    return open_book()
