"""An owner with all its doors open, for the tests of one file, and how it is called over gRPC."""

from collections.abc import Iterator

import pytest

from tests.collector.control.doors.calling import Caller
from tests.collector.control.owned import OwnerProcess


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnerProcess]:
    """Ten USD a day for all of acme."""
    owner = OwnerProcess(
        tmp_path_factory.mktemp("doors") / "data",
        limits={"acme": {"daily": "10"}, "acme/support/poor": {"daily": "0.001"}},
        control={"grpc_endpoint": "127.0.0.1:0", "max_evaluations": 5},
    )
    yield owner.start()
    owner.end()


@pytest.fixture
def grpc_call(owner: OwnerProcess) -> Iterator[Caller]:
    """`grpc_call(service, method, message, answer type)`."""
    with Caller(owner.endpoints["control_grpc"], owner.key) as caller:
        yield caller
