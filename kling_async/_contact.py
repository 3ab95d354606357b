"""Contact: whether creates still get through to the server; pure."""

from __future__ import annotations

from dataclasses import dataclass

_ROWS = 3
_PATIENCE = 60.0
"""Seconds that a network may be away, once it was there: a router that starts anew takes less."""


@dataclass(slots=True)
class Contact:
    """Is told of creates, each of which was tried several times."""

    _made: bool = False
    """Whether one has got through at all: else the address is wrong rather than the network."""
    _failed: int = 0
    """In succession."""
    _since: float = 0.0

    def made(self) -> None:
        """The server has answered one."""
        self._made, self._failed = True, 0

    def failed(self, now: float) -> bool:
        """Another one got no connection; says whether those after it would fare no better."""
        if not self._failed:
            self._since = now
        self._failed += 1
        patience = _PATIENCE if self._made else 0.0
        return self._failed >= _ROWS and now - self._since >= patience
