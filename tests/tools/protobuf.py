"""`schemas/*.proto` → `schemas/protobuf/*_pb2.py` and their types: `python -m tests.tools.protobuf`.

The compiler is a test's tool: what is installed brings the generated messages along.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

from tests.house.source import ROOT

PACKAGE = "schemas/protobuf"


def generate(folder: Path) -> None:
    """Write the messages of every .proto below `folder`, which stands for the tree's root."""
    protos = sorted(path.name for path in (ROOT / "schemas").glob("*.proto"))
    paths = [f"-I{PACKAGE}={ROOT / 'schemas'}", f"-I{files('grpc_tools').joinpath('_proto')}"]
    outputs = [f"--python_out={folder}", f"--pyi_out={folder}"]
    code = protoc.main(["protoc", *paths, *outputs, *(f"{PACKAGE}/{name}" for name in protos)])
    assert code == 0, f"protoc ended with {code}"


if __name__ == "__main__":
    generate(ROOT)
    sys.exit(0)
