"""Who is measured: each makes one video as its own documentation has it, with its defaults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

KEY = "a-key-of-nobody-0123456789"
INTERVAL = 5.0
"""What the plain loops sleep between two questions."""
PATH = "/v1/videos/text2video"
HEADERS = {"Authorization": f"Bearer {KEY}"}

Make = Callable[[str], Awaitable[object]]
"""Takes a prompt, gives a result."""


@dataclass(frozen=True)
class At:
    """Where the server is, and how long its answer is waited for; None: the client's default."""

    origin: str
    prefix: str = ""
    timeout: float | None = None

    @property
    def base(self) -> str:
        return self.origin + self.prefix

    def patience(self, name: str = "timeout") -> dict[str, float]:
        """The client's own option, if it is to be set."""
        return {} if self.timeout is None else {name: self.timeout}


# The packages are in an environment of their own, where no type checker looks.


@asynccontextmanager
async def fal(at: At) -> AsyncGenerator[Make]:
    # Its hosts can be set in the environment, but it speaks https to them.
    library: Any = import_module("fal_client.client")
    library.QUEUE_URL_FORMAT = f"{at.origin}/"
    client: Any = import_module("fal_client").AsyncClient(key=KEY, **at.patience("default_timeout"))

    async def make(prompt: str) -> object:
        application = f"{at.prefix}/fal-ai/kling-video"[1:] if at.prefix else "fal-ai/kling-video"
        handle = await client.submit(application, {"prompt": prompt})
        return await handle.get()

    yield make


@asynccontextmanager
async def replicate(at: At) -> AsyncGenerator[Make]:
    client: Any = import_module("replicate").Client(KEY, base_url=at.base, **at.patience())

    async def make(prompt: str) -> object:
        prediction = await client.predictions.async_create(
            version="0" * 64, input={"prompt": prompt}
        )
        await prediction.async_wait()
        return prediction.output

    yield make


@asynccontextmanager
async def runwayml(at: At) -> AsyncGenerator[Make]:
    maker: Any = import_module("runwayml").AsyncRunwayML
    async with maker(api_key=KEY, base_url=at.base, **at.patience()) as client:

        async def make(prompt: str) -> object:
            task = await client.text_to_video.create(
                model="veo3.1", prompt_text=prompt, ratio="1280:720", duration=4
            )
            return await task.wait_for_task_output()

        yield make


@asynccontextmanager
async def openai(at: At) -> AsyncGenerator[Make]:
    maker: Any = import_module("openai").AsyncOpenAI
    async with maker(api_key=KEY, base_url=f"{at.base}/v1", **at.patience()) as client:

        async def make(prompt: str) -> object:
            return await client.videos.create_and_poll(prompt=prompt, model="sora-2")

        yield make


@asynccontextmanager
async def httpx(at: At) -> AsyncGenerator[Make]:
    """A loop as one writes it oneself, on Kling's own API."""
    library: Any = import_module("httpx")
    async with library.AsyncClient(base_url=at.base, headers=HEADERS, **at.patience()) as client:

        async def ask(method: str, path: str, **body: Any) -> Any:
            answer = await client.request(method, path, **body)
            answer.raise_for_status()
            return answer.json()["data"]

        yield lambda prompt: _loop(ask, prompt)


@asynccontextmanager
async def aiohttp(at: At) -> AsyncGenerator[Make]:
    """The same on aiohttp."""
    library: Any = import_module("aiohttp")
    options = {} if at.timeout is None else {"timeout": library.ClientTimeout(total=at.timeout)}
    async with library.ClientSession(headers=HEADERS, **options) as session:

        async def ask(method: str, path: str, **body: Any) -> Any:
            async with session.request(method, at.base + path, **body) as answer:
                answer.raise_for_status()
                return (await answer.json())["data"]

        yield lambda prompt: _loop(ask, prompt)


async def _loop(ask: Callable[..., Awaitable[Any]], prompt: str) -> object:
    body = {"model_name": "kling-v2-6", "prompt": prompt, "duration": "5", "mode": "std"}
    task = await ask("POST", PATH, json=body)
    while task["task_status"] != "succeed":
        await asyncio.sleep(INTERVAL)
        task = await ask("GET", f"{PATH}/{task['task_id']}")
    return task["task_result"]["videos"][0]["url"]


def kling(provider: str, at: At, **options: Any) -> Any:
    """Our client; `kling_async` is in another environment than the others."""
    package: Any = import_module("kling_async")
    if at.timeout is not None:
        # A create counts as possibly under way until `total` is over.
        options["timeouts"] = package.Timeouts(read=at.timeout, total=2 * at.timeout)
    return package.Kling(getattr(package, provider)(KEY, base_url=at.base), **options)


@asynccontextmanager
async def kling_ai(at: At) -> AsyncGenerator[Make]:
    async with kling("KlingAI", at) as client:
        yield lambda prompt: client.text2video.run(prompt=prompt)


@asynccontextmanager
async def comet_api(at: At) -> AsyncGenerator[Make]:
    async with kling("CometAPI", at) as client:
        yield lambda prompt: client.text2video.run(prompt=prompt)


Contender = Callable[[At], AbstractAsyncContextManager[Make]]
OURS: dict[str, Contender] = {
    "kling_async, KlingAI": kling_ai,
    "kling_async, CometAPI": comet_api,
}
PEERS: dict[str, Contender] = {
    "fal-client": fal,
    "replicate": replicate,
    "runwayml": runwayml,
    "openai": openai,
    "a loop on httpx": httpx,
    "a loop on aiohttp": aiohttp,
}
