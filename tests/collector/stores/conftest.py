"""A real store with Object Lock for the tests of this folder, made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.stores.s3 import S3Store
from tests.collector.stores.gateway import ACCESS, Gateway

_GATEWAYS: list[Gateway] = []


@pytest.fixture
def gateway(
    tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Gateway:
    """versitygw with the buckets `contract` and `evidence` (Object Lock) and `plain` (none)."""
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)
    if not _GATEWAYS:
        made = Gateway(tool("versitygw"), tmp_path_factory.mktemp("gateway"))
        _GATEWAYS.append(made)
        client = S3Store(made.address("contract")).client
        for bucket in ("contract", "evidence", "plain"):
            client.make_bucket(bucket, object_lock=bucket != "plain")
    return _GATEWAYS[0]


@pytest.fixture(autouse=True, scope="session")
def _gateway_ends_with_the_session() -> Iterator[None]:
    yield
    for gateway in _GATEWAYS:
        gateway.kill()
