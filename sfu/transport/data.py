"""Data channels of one transport: what the client opens, bounded."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import InvalidStateError, RTCDataChannel, RTCSctpCapabilities, RTCSctpTransport

from sfu.transport.dtls import DtlsEnd

LABELS = ("reliable", "lossy")
MAX_BUFFERED_BYTES = 1_048_576
"""Sending stops above this: a receiver that slow has to catch up first."""
LOW_BUFFERED_BYTES = 65_536
"""A channel that has drained to this is told to take more: see `sfu.server.outbox`."""


class DataChannels:
    """The channels `reliable` and `lossy`; any other a client opens is closed again.

    `on_message(label, data)` is called for each message, text as its UTF-8 bytes; `on_ready(label)` when
    a channel opens, and when what waits to be sent has become little.
    """

    def __init__(self, on_message: Callable[[str, bytes], None], on_ready: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._on_ready = on_ready
        self._sctp: RTCSctpTransport | None = None
        self._channels: dict[str, RTCDataChannel] = {}

    async def start(self, dtls: DtlsEnd, remote_port: int, max_message_size: int) -> None:
        """Begin the SCTP association. `max_message_size` 0 means without limit. Spec: RFC 8841 section 6."""
        self._sctp = RTCSctpTransport(dtls)
        self._sctp.on("datachannel", self._opened)
        await self._sctp.start(
            RTCSctpCapabilities(maxMessageSize=max_message_size or MAX_BUFFERED_BYTES), remote_port
        )

    async def stop(self) -> None:
        """Abort the association."""
        sctp, self._sctp = self._sctp, None
        for channel in self._channels.values():
            channel.remove_all_listeners()
        self._channels.clear()
        if sctp is not None:
            sctp.remove_all_listeners()
            await sctp.stop()

    def send(self, label: str, data: bytes) -> bool:
        """Queue a message; False where the channel is not open or too much waits already."""
        channel = self._channels.get(label)
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > MAX_BUFFERED_BYTES:
            return False
        try:
            channel.send(data)
        except (InvalidStateError, ValueError):
            return False
        return True

    def buffered_bytes(self, label: str) -> int:
        """Bytes that wait to be sent on a channel, 0 where there is none."""
        channel = self._channels.get(label)
        return 0 if channel is None else int(channel.bufferedAmount)

    def _opened(self, channel: RTCDataChannel) -> None:
        label = channel.label
        if label not in LABELS or label in self._channels:
            channel.close()
            return
        self._channels[label] = channel
        channel.bufferedAmountLowThreshold = LOW_BUFFERED_BYTES

        def received(message: str | bytes) -> None:
            self._on_message(label, message.encode() if isinstance(message, str) else message)

        def closed() -> None:
            if self._channels.get(label) is channel:
                del self._channels[label]

        channel.on("message", received)
        channel.on("close", closed)
        channel.on("bufferedamountlow", lambda: self._on_ready(label))
        self._on_ready(label)
