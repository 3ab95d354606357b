"""Gateway: New-API style servers, whose answers come in six shapes."""

from __future__ import annotations

from typing import ClassVar

from .._limits import Limits
from ._base import Provider, checked_key

# As fast-token and KUAI document them (2026). KUAI also requires model_name, mode, duration and
# multi_shot; New-API itself does not, and a gateway that does refuses without charging.
GATEWAY_LIMITS = Limits(
    durations=frozenset({"5", "10"}),
    modes=frozenset({"std", "pro"}),
    shot_types=frozenset({"customize"}),
    whole_camera_moves=True,
    required=frozenset({"image2video.image"}),
    unlisted=Limits().unlisted | {"image2video.element_list"},
)


class Gateway(Provider):
    """A compatible gateway: ``Gateway("https://host", key)`` asks ``https://host/kling/v1/…``.

    New-API looks tasks up in its own database by its own id, so an external_task_id finds
    nothing there and protects from nothing.
    """

    name: ClassVar[str] = "gateway"
    prefix: ClassVar[str] = "/kling"

    finds_external_id: bool | None = False
    refuses_duplicate_ids: bool | None = False

    def __init__(self, base_url: str, key: str, *, limits: Limits = GATEWAY_LIMITS) -> None:
        super().__init__(base_url, limits)
        self._key = checked_key(key, "the gateway's key")

    def authorization(self, now: float) -> str:
        """The key as a bearer token."""
        return f"Bearer {self._key}"

    def secrets(self) -> tuple[str, ...]:
        """The key."""
        return (self._key,)
