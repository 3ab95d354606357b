"""What type checkers see of the public interface: checked by mypy and pyright, never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

from kling_async import (
    Avatar,
    CometAPI,
    Image2Video,
    Kling,
    KlingAI,
    Limits,
    MultiImage2Video,
    Polling,
    Provider,
    Task,
    TaskFailed,
    TaskState,
    TaskTimeout,
    Text2Video,
    Timeouts,
    Video,
    VideoResult,
)


async def results_have_their_types(kling: Kling) -> None:
    task = await kling.text2video.submit(prompt="A paper boat", duration=5)
    assert_type(task, Task[VideoResult])
    assert_type(await task, VideoResult)
    assert_type(await task.result(), VideoResult)
    assert_type(await task.result(timeout=None), VideoResult)
    assert_type(await task.refresh(), TaskState)
    assert_type(task.token, str)
    async for state in task.updates(timeout=60):
        assert_type(state, TaskState)

    video = await kling.image2video.run(image=Path("cat.png"), prompt="It yawns")
    assert_type(video, VideoResult)
    assert_type(video.url, str)
    assert_type(video.videos, tuple[Video, ...])
    assert_type(await kling.download(video, "boat.mp4"), list[Path])
    assert_type(await kling.download(video, Path("films"), overwrite=True), list[Path])
    async with kling.open(video) as stream:
        assert_type(stream.size, int | None)
        assert_type([piece async for piece in stream], list[bytes])


async def every_resource_has_the_same_calls(kling: Kling) -> None:
    assert_type(
        await kling.multi_image2video.run(image_list=[b"", Path("cat.png")], prompt="They meet"),
        VideoResult,
    )
    assert_type(await kling.avatar.run(image=b"", sound_file=Path("hello.mp3")), VideoResult)
    assert_type(await kling.avatar.get("2032273942220931072"), TaskState)
    async for state in kling.text2video.list(page_size=50):
        assert_type(state, TaskState)


async def requests_work_alone(kling: Kling) -> None:
    assert_type(await kling.submit(Text2Video(prompt="A paper boat")), Task[VideoResult])
    assert_type(await kling.submit(Image2Video(image=b""), resend=True), Task[VideoResult])
    assert_type(await kling.run(Avatar(image=b"", audio_id="1"), timeout=600), VideoResult)
    assert_type(await kling.run(MultiImage2Video(image_list=[b""], prompt="")), VideoResult)


async def a_token_does_not_know_the_type(kling: Kling) -> None:
    task = kling.task("cometapi/text2video/2032273942220931072")
    assert_type(task, Task[Any])
    video: VideoResult = await task
    assert_type(video, VideoResult)


async def clients_are_set_up_by_keyword() -> None:
    provider: Provider = CometAPI("key", limits=Limits(prompt=2500))
    timeouts, polling = Timeouts(read=30), Polling(interval=2, timeout=None)
    async with Kling(provider, timeouts=timeouts, polling=polling, validate=False) as kling:
        assert_type(kling, Kling)
        assert_type(kling.provider, Provider)


def errors_carry_what_goes_on(failed: TaskFailed, late: TaskTimeout) -> None:
    assert_type(failed.message, str)
    assert_type(failed.task_id, str | None)
    assert_type(late.token, str | None)
    _: TimeoutError = late


async def mistakes_are_seen(kling: Kling) -> None:
    """Each comment is needed: mypy finds the error it names, and pyright finds one as well."""
    # A misspelt keyword, and one that is missing.
    await kling.text2video.run(promptt="A paper boat")  # type: ignore[call-arg]
    await kling.multi_image2video.run(prompt="They meet")  # type: ignore[call-arg]
    Text2Video(promptt="A paper boat")  # type: ignore[call-arg]
    # A word that nobody knows, and a wrong type.
    await kling.text2video.run(prompt="A paper boat", sound="loud")  # type: ignore[arg-type]
    await kling.text2video.run(prompt=5)  # type: ignore[arg-type]
    KlingAI("key", region="europe")  # type: ignore[arg-type]
    # Fields have names, not places.
    await kling.text2video.run("A paper boat")  # type: ignore[call-arg]
    Text2Video("A paper boat")  # type: ignore[call-arg]
    Polling(5)  # type: ignore[call-arg]
    # A class where a request belongs, an address for a result, a key for a provider.
    await kling.submit(Text2Video)  # type: ignore[arg-type]
    await kling.download("https://example.com/boat.mp4", "boat.mp4")  # type: ignore[arg-type]
    Kling("key")  # type: ignore[arg-type]
    # A forgotten `await`; a state that is not the reader's to change.
    kling.text2video.submit(prompt="A paper boat").token  # type: ignore[attr-defined]
    (await kling.avatar.get("2032273942220931072")).id = "1"  # type: ignore[misc]
