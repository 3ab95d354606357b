"""A client whose transport keeps what it is given, and one whose transport must stay unused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import httpx
import pytest
from pydantic import ValidationError

from kling_async import CometAPI, Gateway, Kling, KlingAI, Provider, Request, RequestRefused

ACCEPTED = {"code": 0, "message": "SUCCEED", "data": {"task_id": "1", "task_status": "submitted"}}
PICTURE = "https://cdn.example/picture.png"
SPEECH = "https://cdn.example/speech.mp3"
PROVIDERS: Mapping[str, Provider] = {
    "kling": KlingAI("key-of-the-test"),
    "comet": CometAPI("key-of-the-test"),
    "gateway": Gateway("https://gw.example", "key-of-the-test"),
}


class Wire:
    """Accepts every create and keeps it; it has no task that was made before."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def client(self, provider: Provider, *, validate: bool = True) -> Kling:
        """A client that sends here."""
        return Kling(provider, transport=httpx.MockTransport(self._answer), validate=validate)

    def only(self) -> httpx.Request:
        """The one request that was sent."""
        assert len(self.requests) == 1
        return self.requests[0]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":  # whether the caller's own id has a task already
            return httpx.Response(404, json={"code": 1203, "message": "task not found"})
        self.requests.append(request)
        return httpx.Response(200, json=ACCEPTED)


def unreachable(request: httpx.Request) -> NoReturn:
    """A transport's handler for what must not be sent."""
    pytest.fail(f"sent to {request.url}: {request.content[:200]!r}")


async def accepted(request: Request[Any], to: str = "kling") -> dict[str, Any]:
    """The object that is sent, without the id the client adds."""
    wire = Wire()
    async with wire.client(PROVIDERS[to]) as kling:
        await kling.submit(request)
    body: dict[str, Any] = json.loads(wire.only().content)
    del body["external_task_id"]
    return body


async def refused(
    model: type[Request[Any]], fields: Mapping[str, Any], to: str | Provider = "kling"
) -> str:
    """What a person reads when the request is refused; nothing may be sent."""
    provider = PROVIDERS[to] if isinstance(to, str) else to
    async with Kling(provider, transport=httpx.MockTransport(unreachable)) as kling:
        with pytest.raises((ValidationError, RequestRefused)) as caught:
            await kling.submit(model(**fields))
    text = str(caught.value)
    # Within a few lines, whatever it was that was refused.
    assert len(text) < 600
    return re.sub(r"\s+", " ", text)


class Cases:
    """Makes the rows of an endpoint's tables: a valid request, and what is changed in it."""

    def __init__(self, valid: Mapping[str, Any], *, gateway: Mapping[str, Any]) -> None:
        self._valid = {"kling": valid, "comet": valid, "gateway": {**valid, **gateway}}

    def valid(self, name: str, to: str = "kling", /, **changes: Any) -> Any:
        """A row for `accepted`: fields, provider."""
        return pytest.param({**self._valid[to], **changes}, to, id=f"{to}-{name}")

    def invalid(self, name: str, to: str, says: str, /, **changes: Any) -> Any:
        """A row for `refused`: fields, provider, and the words it must say, divided by ~."""
        return pytest.param({**self._valid[to], **changes}, to, says.split("~"), id=f"{to}-{name}")


def missing(words: list[str], text: str) -> str:
    """The text, if it lacks one of the words; nothing if all is said."""
    return "" if all(word in text for word in words) else text
