"""Flow control of a stream: its limits, and its outstanding messages."""

from dataclasses import dataclass, field

MOST_MESSAGES = 10_000  # when a client sets no limit
MOST_BYTES = 100 << 20


@dataclass(eq=False)
class Window:
    """Outstanding messages of one stream by ack id, each with its deadline and size in bytes."""

    most_messages: int
    most_bytes: int
    outstanding: dict[str, tuple[float, int]] = field(default_factory=dict)
    bytes: int = 0

    @classmethod
    def of(cls, most_messages: int, most_bytes: int) -> "Window":
        """A window with a client's limits; 0 or less means as much as this server allows."""
        return cls(
            min(most_messages, MOST_MESSAGES) if most_messages > 0 else MOST_MESSAGES,
            min(most_bytes, MOST_BYTES) if most_bytes > 0 else MOST_BYTES,
        )

    def room(self, now: float) -> tuple[int, int]:
        """Return the numbers of messages and bytes that may be sent; a passed deadline makes room."""
        if self._full():
            for ack_id in [ack_id for ack_id, (deadline, _) in self.outstanding.items() if deadline <= now]:
                self.remove(ack_id)
        return (0, 0) if self._full() else (self.most_messages - len(self.outstanding), self.most_bytes - self.bytes)

    def add(self, ack_id: str, deadline: float, size: int) -> None:
        """Add a message that was sent."""
        self.outstanding[ack_id] = (deadline, size)
        self.bytes += size

    def extend(self, ack_id: str, deadline: float) -> None:
        """Move the deadline of a message."""
        if ack_id in self.outstanding:
            self.outstanding[ack_id] = (deadline, self.outstanding[ack_id][1])

    def remove(self, ack_id: str) -> bool:
        """A message is outstanding no more; whether that made room in a full window."""
        was_full = self._full()
        self.bytes -= self.outstanding.pop(ack_id, (0.0, 0))[1]
        return was_full and not self._full()

    def _full(self) -> bool:
        return len(self.outstanding) >= self.most_messages or self.bytes >= self.most_bytes
