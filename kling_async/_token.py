"""Token: what a task is found by again, in any process."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from ._errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Token:
    """What a task is found by again: provider, endpoint and id, as one line of text.

    A task can only be asked for below the path it was created on, so the id alone is not
    enough (KLING_API A.0). The model, where there is one, says whose slots it takes.
    """

    provider: str
    endpoint: str
    task_id: str
    model: str | None = None

    def text(self) -> str:
        """The token as text, safe in URLs, files and shells."""
        parts = (self.provider, self.endpoint, self.task_id, self.model)
        return "/".join(quote(part, safe="") for part in parts if part)

    @classmethod
    def read(cls, text: str) -> Token:
        """The token in *text*."""
        parts = [unquote(part) for part in text.strip().split("/")]
        if len(parts) not in (3, 4) or not all(parts) or {".", ".."} & set(parts):
            raise ConfigurationError(
                f"{text[:80]!r} is no token; one looks like cometapi/text2video/2032273942220931072"
            )
        return cls(*parts)
