"""`ToOwner` messages out, `FromOwner` messages back, over a socket both processes inherited.

Wire: 4-byte big-endian length, then one MessagePack value (`schemas.booking`). One request is
outstanding per connection, so a lost peer loses at most the answer to a message that is safe to
send again. What the messages do is left to the owner.
"""

import socket
import struct
import threading

import msgspec

from schemas.booking import FromOwner, ToOwner
from schemas.errors import Fatal, Retryable

LENGTH = struct.Struct(">I")
# A position carries the whole dedupe window, 24 bytes a row; a booking's slab is far smaller.
MAX_MESSAGE_BYTES = 2**30

_ENCODER = msgspec.msgpack.Encoder()
_FROM_OWNER: msgspec.msgpack.Decoder[FromOwner] = msgspec.msgpack.Decoder(FromOwner)


def frame(message: bytes) -> bytes:
    """A message with its length in front."""
    return LENGTH.pack(len(message)) + message


def length(header: bytes) -> int:
    """The length a frame announces; raises `Fatal` for one no peer of ours sends."""
    size: int = LENGTH.unpack(header)[0]
    if size > MAX_MESSAGE_BYTES:
        raise Fatal(f"A message of {size} bytes was announced between the two processes.", fix="Start again.")
    return size


class OwnerLink:
    """Ingest's end of one connection. Calls from several threads take turns."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def request(self, message: ToOwner) -> FromOwner:
        """Send one message and wait for its answer; raises `Retryable` when the owner has gone."""
        with self._turn:
            try:
                self._connection.sendall(frame(_ENCODER.encode(message)))
                return _FROM_OWNER.decode(self._receive(length(self._receive(LENGTH.size))))
            except OSError as error:
                raise Retryable(
                    f"The control process does not answer: {error}.",
                    fix="Its own message says why it ended; start again, and recovery continues.",
                ) from error

    def close(self) -> None:
        """Hang up: the owner ends when its last connection does."""
        self._connection.close()

    def _receive(self, size: int) -> bytes:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            count = self._connection.recv_into(view)
            if count == 0:
                raise ConnectionResetError("it closed the connection")
            view = view[count:]
        return bytes(buffer)
