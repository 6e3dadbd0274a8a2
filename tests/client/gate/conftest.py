"""A control endpoint, a provider and the gate between them."""

from collections.abc import Iterator

import pytest
import spanward_client

from tests.client import control as control_server
from tests.client import provider as provider_server


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[control_server.Control]:
    with control_server.serving() as server:
        monkeypatch.setenv("SPANWARD_ENDPOINT", server.url)
        monkeypatch.setenv("SPANWARD_API_KEY", "key-1")
        monkeypatch.setenv("SPANWARD_TIMEOUT", "30")
        yield server


@pytest.fixture
def provider() -> Iterator[provider_server.Provider]:
    with provider_server.serving() as server:
        yield server


@pytest.fixture
def gate(control: control_server.Control) -> Iterator[control_server.Control]:
    """The gate is in place; yields the control endpoint behind it."""
    spanward_client.instrument()
    yield control
    spanward_client.uninstrument()
    spanward_client.flush()
    spanward_client.close()
