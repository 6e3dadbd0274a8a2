"""Messages in, answers of a gRPC door out."""

from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class Caller:
    """One channel; every call carries `key` unless it says otherwise."""

    def __init__(self, address: str, key: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.key = key

    def __call__(self, method: str, message: Message | bytes, answer: type[M], **metadata: str) -> M:
        """Call `SERVICE/METHOD`; raises `grpc.RpcError`."""
        body = message if isinstance(message, bytes) else message.SerializeToString()
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/{method}")
        sent = metadata or {"authorization": f"Bearer {self.key}"}
        return answer.FromString(call(body, metadata=tuple(sent.items()), timeout=60))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
