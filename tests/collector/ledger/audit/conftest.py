"""What both verifiers recompute from an object's bytes depends on nothing else, so the corpora ask for each once."""

from collections.abc import Iterator

import pytest

from tests.collector.ledger.audit.both import remembering


@pytest.fixture(autouse=True, scope="module")
def _each_object_is_examined_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for (module, name), function in remembering().items():
            patched.setattr(module, name, function)
        yield
