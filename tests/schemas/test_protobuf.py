"""The committed protobuf messages are what the .proto files say, and Envoy's are Envoy's on the wire."""

from pathlib import Path

from schemas.protobuf import ext_authz_pb2 as az
from tests.house.source import ROOT
from tests.tools.protobuf import PACKAGE, generate


def test_the_committed_messages_are_generated_from_the_protos(tmp_path: Path) -> None:
    """Run `python -m tests.tools.protobuf` when this fails."""
    generate(tmp_path)
    fresh = {path.name: path.read_text() for path in (tmp_path / PACKAGE).iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / PACKAGE).glob("*_pb2.py*")}
    assert len(committed) == 4
    assert fresh == committed


def test_a_check_has_envoys_field_numbers() -> None:
    """From Envoy's own API, v3: attribute_context.proto and external_auth.proto."""
    http = az.AttributeContext.HttpRequest.DESCRIPTOR.fields_by_name
    numbers = {name: field.number for name, field in http.items()}
    assert numbers == {
        "id": 1, "method": 2, "headers": 3, "path": 4, "host": 5, "scheme": 6, "size": 9, "body": 11, "raw_body": 12,
    }  # fmt: skip
    ok = {name: field.number for name, field in az.OkHttpResponse.DESCRIPTOR.fields_by_name.items()}
    assert ok == {"headers": 2, "headers_to_remove": 5, "response_headers_to_add": 6}
    assert az.DESCRIPTOR.services_by_name["Authorization"].full_name == "envoy.service.auth.v3.Authorization"
