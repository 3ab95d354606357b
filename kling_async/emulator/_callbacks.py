"""Tells callback URLs about every change of a task's status, signed or not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from random import Random
from uuid import UUID

import anyio
import anyio.abc
import anyio.to_thread
import httpx

from kling_async.emulator._clock import Clock
from kling_async.emulator._dialects import task_object
from kling_async.emulator._faults import Fault, Faults, Strike
from kling_async.emulator._jobs import Job, State

Transport = httpx.AsyncBaseTransport
"""How callbacks travel."""

# Kling documents neither retries nor a time-out: one attempt, ten seconds.
_TIMEOUT = 10.0
_FORGED_URL = "https://files.kling-emulator.test/forged/0.mp4"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback sent; `answer` is the receiver's HTTP status, None if none came."""

    task_id: str
    status: str
    url: str
    forged: bool
    answer: int | None


class Callbacks:
    """Sends callbacks from tasks of its own while the emulator is entered."""

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        faults: Faults,
        secret: str | None,
        transport: Transport | None,
    ) -> None:
        self.deliveries: list[Delivery] = []
        self._clock = clock
        self._random = random
        self._faults = faults
        self._secret = secret
        self._transport = transport
        self._group: anyio.abc.TaskGroup | None = None
        self._client: httpx.AsyncClient | None = None
        self._lock = anyio.Lock()

    def open(self, group: anyio.abc.TaskGroup) -> None:
        """Run in this task group from now on."""
        self._group = group

    async def aclose(self) -> None:
        """Stop sending."""
        self._group = None
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def follow(self, job: Job) -> None:
        """Call back for a task that asks for it, if callbacks are running."""
        url = job.body.get("callback_url")
        if isinstance(url, str) and url and self._group is not None:
            self._group.start_soon(self._follow, job, url, self._group)

    async def _follow(self, job: Job, url: str, group: anyio.abc.TaskGroup) -> None:
        state = State("submitted", job.created)
        while True:
            strike = self._faults.draw(
                "callback", endpoint=job.endpoint, names=(job.task_id, job.external_task_id)
            )
            # Not awaited: a slow or late delivery must not hold back the next.
            group.start_soon(self._deliver, job, state, url, strike)
            if state.is_terminal:
                return
            state = await job.changed(state)

    async def _deliver(self, job: Job, state: State, url: str, strike: Strike | None) -> None:
        payload = task_object(job, state, self._clock)
        fault = None if strike is None else strike.fault
        if strike is not None and fault is Fault.LATE_CALLBACK:
            await anyio.sleep(strike.seconds)
        if fault is Fault.FORGED_CALLBACK:
            video = {"id": job.video_id, "url": _FORGED_URL, "duration": job.video_seconds}
            lie = {"task_status": "succeed", "task_result": {"videos": [video]}}
            await self._post(url, payload | lie, None)
        sender = self._new_id()
        for _ in range(2 if fault is Fault.DOUBLE_CALLBACK else 1):
            # A repeated message keeps its id, by which a receiver may know it.
            await self._post(url, payload, sender)

    async def _post(self, url: str, payload: dict[str, object], sender: str | None) -> None:
        """Send one callback; without a sender it is a forged one, which nobody signs."""
        body = json.dumps(payload, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if sender is not None:
            headers |= self._signature(body, sender)
        client = await self._http()
        try:
            reply = await client.post(url, content=body, headers=headers)
            answer = reply.status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            answer = None
        self.deliveries.append(
            Delivery(
                str(payload["task_id"]), str(payload["task_status"]), url, sender is None, answer
            )
        )

    async def _http(self) -> httpx.AsyncClient:
        async with self._lock:
            if self._client is None:
                # Making a client reads certificates: not on the loop.
                self._client = await anyio.to_thread.run_sync(self._new_client)
            return self._client

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self._transport, timeout=_TIMEOUT)

    def _signature(self, body: bytes, sender: str) -> dict[str, str]:
        if self._secret is None:
            return {}
        # Receivers refuse a stamp five minutes off: real time, not the simulated one.
        stamp = str(int(self._clock.wall()))
        return {
            "webhook-id": sender,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(self._secret, sender, stamp, body),
        }

    def _new_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


def sign(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    """A Standard Webhooks signature over a message."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{stamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()
