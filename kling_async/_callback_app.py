"""CallbackApp: the ASGI app that callbacks are sent to."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from inspect import isawaitable
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.lowlevel

from ._callback import LARGEST_BODY, Callback, read
from ._errors import CallbackRefused, ConfigurationError
from ._signature import Signatures

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
OnUnknown: TypeAlias = Callable[[Callback], object]

_LOG = logging.getLogger("kling_async")

_PATIENCE = 10.0
_READ_AT_ONCE = 32
_PIECES = 256


class Hears(Protocol):
    """Who is told of callbacks; a client, most often."""

    def hear(self, callback: Callback) -> bool:
        """Whether it is about a task of its own."""
        ...


class CallbackApp:
    """Answers POST with 200, or with what is wrong and nothing else."""

    def __init__(
        self,
        kling: Hears,
        signatures: Signatures,
        path_token: bytes | None,
        on_unknown: OnUnknown | None,
    ) -> None:
        self._kling = kling
        self._signatures = signatures
        self._path_token = path_token
        self._on_unknown = on_unknown
        # So many bodies are held in memory at most; without a path token anybody sends them.
        self._seats = anyio.Semaphore(_READ_AT_ONCE, fast_acquire=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it; alone on a server, its start and stop too."""
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            callback = await self._read(scope, receive)
        except CallbackRefused as error:
            _LOG.debug("a callback is refused: %s", error)
            await _answer(send, error.status or 400)
            return
        if callback is None:
            return
        known = self._kling.hear(callback)
        # First the answer: what is done with the callback is no matter of its sender's.
        await _answer(send, 200)
        if not known and self._on_unknown is not None:
            try:
                done = self._on_unknown(callback)
                if isawaitable(done):
                    await done
            except Exception:
                _LOG.exception("on_unknown failed on %r", callback)

    async def _read(self, scope: Scope, receive: Receive) -> Callback | None:
        """The callback; None if its sender has gone."""
        if self._path_token is not None:
            last = scope["path"].rpartition("/")[2].encode("utf-8", "surrogatepass")
            if not hmac.compare_digest(last, self._path_token):
                raise CallbackRefused("its path has not the token", status=404)
        if scope["method"] != "POST":
            raise CallbackRefused("it is no POST", status=405)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        _check_length(headers.get("content-length", "0"))
        body: bytes | None = None
        with anyio.move_on_after(_PATIENCE) as span:
            async with self._seats:
                body = await _body(receive)
        if span.cancelled_caught:
            raise CallbackRefused("its body does not come to an end", status=408)
        return None if body is None else read(body, headers, self._signatures)


def callback_app(
    kling: Hears,
    *,
    secrets: str | Iterable[str] = (),
    path_token: str | None = None,
    on_unknown: OnUnknown | None = None,
) -> CallbackApp:
    """An ASGI app for `kling.callback_url`: alone on a server, or mounted in another app.

    It must run in the client's event loop. A callback is never believed: it makes the client
    ask about the task at once, and the answer counts. So those that come late, doubled, in
    the wrong order or from a stranger change no result.

    Example:
        import secrets
        from kling_async.webhooks import callback_app

        token = secrets.token_urlsafe()
        app = callback_app(kling, path_token=token)  # FastAPI: web.mount("/kling", app)
        kling.callback_url = f"https://app.example/kling/{token}"

    Args:
        secrets: One or several `whsec_...` of Kling's console, the old and the new one while
            they change. Given any, a callback must be signed; needs the extra `webhooks`.
        path_token: What the path must end in, and nobody can guess.
        on_unknown: Called, and awaited, with the `Callback` of each task that is not this
            client's, perhaps another process's. What it raises is logged.
    """
    given = (secrets,) if isinstance(secrets, str) else tuple(secrets)
    signatures = Signatures(given)
    if not given and path_token is None:
        raise ConfigurationError(
            "anybody could call",
            advice="Give path_token=secrets.token_urlsafe(), kept and put at the end of"
            " kling.callback_url, or secrets=[...] of Kling's console.",
        )
    if path_token is not None and (not path_token or "/" in path_token):
        raise ConfigurationError(
            "path_token is to be one part of a path", advice="Make it by secrets.token_urlsafe()."
        )
    token = None if path_token is None else path_token.encode("utf-8", "surrogatepass")
    return CallbackApp(kling, signatures, token, on_unknown)


def _check_length(told: str) -> None:
    if not (told.isascii() and told.isdigit()):
        raise CallbackRefused("its Content-Length is no number", status=400)
    if len(told) > len(str(LARGEST_BODY)) or int(told) > LARGEST_BODY:
        raise CallbackRefused(f"it says that it has {told[:20]} bytes", status=413)


async def _body(receive: Receive) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > LARGEST_BODY:
            raise CallbackRefused("its body is too large", status=413)
        if piece:
            pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        if not piece:  # or nothing would ever end a stream of nothing
            await anyio.lowlevel.checkpoint()
        elif len(pieces) > _PIECES:  # each takes more memory than its bytes
            pieces = [b"".join(pieces)]


async def _answer(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0")]
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
