"""The client finds its key, checks before it sends, and says what is wrong with either."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from kling_async import (
    AuthenticationError,
    Avatar,
    CometAPI,
    ConfigurationError,
    ConnectFailed,
    Image2Video,
    Kling,
    KlingAI,
    KlingError,
    KlingWarning,
    MultiImage2Video,
    Request,
    RequestRefused,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator
from tests.media_samples import png, wav

KEY = "a-secret-key-of-the-usual-length-0123456789"
PICTURE = png(300, 300)
ONE_OF_EACH: list[Request[VideoResult]] = [
    Text2Video(prompt="A boat"),
    Image2Video(image=PICTURE),
    MultiImage2Video(image_list=[PICTURE, PICTURE], prompt="They meet"),
    Avatar(image=PICTURE, sound_file=wav(3)),
]


def official(emulator: Emulator) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport())


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"COMETAPI_KEY": KEY}, "cometapi"),
        ({"KLINGAI_API_KEY": KEY}, "klingai"),
        ({"KLINGAI_ACCESS_KEY": "name", "KLINGAI_SECRET_KEY": KEY}, "klingai"),
        ({"KLINGAI_API_KEY": KEY, "COMETAPI_KEY": KEY}, "cometapi"),
    ],
)
def test_provider_comes_from_the_environment(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    assert Kling().provider.name == name


@pytest.mark.parametrize("variable", ["COMETAPI_KEY", "KLINGAI_API_KEY", "KLINGAI_SECRET_KEY"])
def test_missing_key_names_the_variables(variable: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?s){variable}.*emulator"):
        Kling()


@pytest.mark.parametrize("variable", ["KLINGAI_ACCESS_KEY", "KLINGAI_SECRET_KEY"])
def test_half_a_pair_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, KEY)

    with pytest.raises(ConfigurationError, match="_key is empty"):
        Kling()


@pytest.mark.parametrize("request_", ONE_OF_EACH, ids=lambda request: request.endpoint)
@pytest.mark.parametrize("provider", [KlingAI, CometAPI])
async def test_every_endpoint_makes_a_video(
    request_: Request[VideoResult], provider: type[KlingAI] | type[CometAPI]
) -> None:
    emulator = Emulator()
    async with Kling(provider(KEY), transport=emulator.transport()) as kling:
        video = await kling.run(request_)

    assert [entry.task_id for entry in emulator.ledger] == [video.task_id]


async def test_resource_and_request_make_the_same_task() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        await kling.text2video.submit(prompt="A boat", external_task_id="a")
        await kling.submit(Text2Video(prompt="A boat", external_task_id="b"))
    first, second = (dict(entry.body) for entry in emulator.ledger)

    assert first | {"external_task_id": "b"} == second
    assert repr(kling.text2video) == "<Resource text2video>"


async def test_resource_runs_with_keywords() -> None:
    async with official(Emulator()) as kling:
        video = await kling.image2video.run(image=PICTURE, prompt="It yawns", duration=5)

    assert video.videos[0].duration is not None


async def test_every_create_has_an_id_of_its_own() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        tasks = [await kling.submit(ONE_OF_EACH[0]) for _ in range(3)]
    ids = [entry.external_task_id for entry in emulator.ledger]

    assert ids == [task.external_task_id for task in tasks]
    assert len(set(ids)) == 3


async def test_submits_go_out_together() -> None:
    emulator = Emulator(latency=10)
    client = Kling(KlingAI(KEY), transport=emulator.transport(), max_at_once=20)
    async with client as kling, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(kling.submit, ONE_OF_EACH[0])

    assert anyio.current_time() == pytest.approx(10)
    assert len(emulator.ledger) == 20


@pytest.mark.parametrize("own", [None, "https://own.test/"])
async def test_callback_url_is_put_on_requests_without_one(own: str | None) -> None:
    emulator = Emulator()
    transport = emulator.transport()
    async with Kling(KlingAI(KEY), transport=transport, callback_url="https://all.test/") as kling:
        await kling.text2video.submit(prompt="A boat", callback_url=own)

    assert emulator.ledger[0].body["callback_url"] == (own or "https://all.test/")


async def test_refused_request_is_not_sent() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with pytest.raises(RequestRefused, match="2500"):
            await kling.text2video.submit(prompt="x" * 2501)

    assert len(emulator.requests) == 0


async def test_unchecked_request_is_left_to_the_server() -> None:
    emulator = Emulator()
    kling = Kling(KlingAI(KEY), transport=emulator.transport(), validate=False)
    async with kling:
        with pytest.raises(KlingError, match="1201"):
            await kling.text2video.submit(prompt="x" * 2501)

    assert len(emulator.requests) == 1


async def test_doubtful_request_is_sent_with_a_warning() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with pytest.warns(KlingWarning, match="cfg_scale"):
            await kling.multi_image2video.submit(
                image_list=[PICTURE, PICTURE], prompt="They meet", cfg_scale=0.5
            )

    assert len(emulator.ledger) == 1


@pytest.mark.parametrize(
    ("provider", "variable"), [(KlingAI, "KLINGAI_API_KEY"), (CometAPI, "COMETAPI_KEY")]
)
async def test_wrong_key_names_its_variable(
    provider: type[KlingAI] | type[CometAPI], variable: str
) -> None:
    emulator = Emulator(keys={"right"})
    async with Kling(provider(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(AuthenticationError, match=variable):
            await kling.text2video.run(prompt="A boat")

    assert len(emulator.requests) == 1


async def test_wrong_host_names_host_and_region() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("")

    provider = KlingAI(KEY, region="china")
    async with Kling(provider, transport=httpx.MockTransport(answer)) as kling:
        with pytest.raises(ConnectFailed, match=r"api-beijing\.klingai\.com.*region"):
            await kling.text2video.submit(prompt="A boat")


@pytest.mark.parametrize("path", ["/v1", "/kling", "/kling/v1/", "/kling/v1/videos/text2video"])
def test_path_in_the_address_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="give the origin only"):
        CometAPI(KEY, base_url=f"https://api.cometapi.com{path}")


@pytest.mark.parametrize("call", ["submit", "get", "list"])
async def test_closed_client_says_so(call: str) -> None:
    async with official(Emulator()) as kling:
        pass
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "submit": lambda: kling.text2video.submit(prompt="A boat"),
        "get": lambda: kling.text2video.get("7"),
        "list": lambda: anext(aiter(kling.text2video.list())),
    }

    with pytest.raises(ConfigurationError, match="this client is closed"):
        await calls[call]()


async def test_client_may_be_closed_twice() -> None:
    async with official(Emulator()) as kling:
        await kling.aclose()


async def test_key_is_not_in_a_repr() -> None:
    async with official(Emulator()) as kling:
        task = await kling.text2video.submit(prompt="A boat")

    assert KEY not in f"{kling!r} {kling.provider!r} {task!r} {task.state!r}"


async def test_warning_points_at_the_caller() -> None:
    async with Kling(CometAPI("any-key"), transport=Emulator().transport()) as kling:
        with pytest.warns(KlingWarning) as warned:
            await kling.text2video.submit(prompt="A boat", model_name="kling-v9")

    assert warned[0].filename == __file__


async def test_key_in_place_of_a_provider_is_explained() -> None:
    with pytest.raises(ConfigurationError, match=r"Kling\(CometAPI\(key\)\)"):
        Kling("sk-1234567890")  # type: ignore[arg-type]  # refused at run time too


@pytest.mark.parametrize("thing", ["A boat", {"prompt": "A boat"}, Text2Video])
async def test_what_is_no_request_is_explained(thing: Any) -> None:
    async with official(Emulator()) as kling:
        with pytest.raises(RequestRefused, match="is no request; write Text2Video"):
            await kling.submit(thing)


@pytest.mark.parametrize("name", ["polling", "timeouts", "retries"])
def test_number_in_place_of_settings_is_explained(name: str) -> None:
    settings: dict[str, Any] = {name: 5}

    with pytest.raises(ConfigurationError, match=f"{name} is int; write"):
        Kling(KlingAI(KEY), **settings)
