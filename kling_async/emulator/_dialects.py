"""Words every answer as the imitated server does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import ClassVar

from kling_async.emulator._clock import Clock
from kling_async.emulator._jobs import Job, State
from kling_async.emulator._refusals import Refusal, TaskNotFound
from kling_async.emulator._rules import Bounds

JSON = dict[str, object]
VIDEO = "0.mp4"
WATERMARKED = "0-watermark.mp4"


def task_object(job: Job, state: State, clock: Clock) -> JSON:
    """Kling's task object in full, as queries and callbacks hold it."""
    task: JSON = {
        "task_id": job.task_id,
        "task_status": state.status,
        "task_status_msg": state.message,
        "task_info": _task_info(job),
        "task_result": {},
        "created_at": clock.unix_ms(job.created),
        "updated_at": clock.unix_ms(state.since),
    }
    if job.watermarked is not None:
        task["watermark_info"] = {"enabled": job.watermarked}
    # A failed task has neither: its code is still 0, its reason only in task_status_msg.
    if state.status == "succeed":
        task["task_result"] = {"videos": [_video(job)]}
        task["final_unit_deduction"] = str(job.units)
    return task


def _task_info(job: Job) -> JSON:
    return {} if job.external_task_id is None else {"external_task_id": job.external_task_id}


def _video(job: Job) -> JSON:
    video: JSON = {
        "id": job.video_id,
        "url": job.file_url(VIDEO),
        "duration": job.video_seconds,
    }
    if job.watermarked:
        video["watermark_url"] = job.file_url(WATERMARKED)
    return video


class Official:
    """The official server, and what the others have in common with it."""

    name: ClassVar[str] = "official"
    prefix: ClassVar[str] = ""
    bounds: ClassVar[Bounds] = Bounds()
    finds_external_id: ClassVar[bool] = True
    lists: ClassVar[bool] = True
    signed_tokens: ClassVar[bool] = True
    openai_queries: ClassVar[bool] = False

    def normalized(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """The body as the rules shall see it."""
        return body

    def created(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """The answer to a create."""
        task = task_object(job, state, clock)
        shown = ("task_id", "task_status", "task_info", "created_at", "updated_at")
        return self.envelope({key: task[key] for key in shown}, request_id)

    def queried(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """The answer to a query of one task."""
        return self.envelope(task_object(job, state, clock), request_id)

    def listed(self, jobs: Iterable[Job], clock: Clock, request_id: str) -> JSON:
        """The answer to a list: a bare array, with no total and no cursor."""
        return self.envelope([task_object(job, job.state, clock) for job in jobs], request_id)

    def envelope(self, data: object, request_id: str) -> JSON:
        """Kling's envelope around some data."""
        return {"code": 0, "message": "SUCCEED", "request_id": request_id, "data": data}

    def refused(self, refusal: Refusal, request_id: str) -> JSON:
        """The body of an error answer; its HTTP status is the refusal's."""
        return {"code": refusal.code, "message": refusal.message, "request_id": request_id}

    def stray(self, method: str, path: str, request_id: str) -> tuple[int, JSON | str]:
        """The answer to a path it does not have: a status, and JSON or a page."""
        return 404, self.refused(Refusal(1203), request_id)


class CometAPI(Official):
    """CometAPI: Kling's shapes, its own errors and tighter limits."""

    name = "cometapi"
    prefix = "/kling"
    # As CometAPI's pages print them (March 2026); Kling's own limits are wider (table J).
    bounds = Bounds(
        prompt=500,
        negative_prompt=200,
        ratios=("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3"),
        durations=(5, 10),
        least_images=2,
        longest_audio=60,
        required={"image2video": ("image",)},
        # Its pages name no models.
        open_models=True,
    )
    # J: whether it finds external ids is unknown; its pages say they "can be used to query".
    lists = False
    signed_tokens = False

    def created(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """As Kling's, without a request_id."""
        answer = super().created(job, state, clock, request_id)
        del answer["request_id"]
        return answer | {"message": "success"}

    def queried(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """As Kling's, without an empty task_status_msg."""
        task = task_object(job, state, clock)
        if not state.message:
            del task["task_status_msg"]
        return self.envelope(task, request_id)

    def refused(self, refusal: Refusal, request_id: str) -> JSON:
        """An error in OpenAI's style, which hides Kling's code."""
        # D.3: of its errors only HTTP status and words tell one from another.
        code = "invalid_request" if refusal.status == 400 else ""
        message = f"{refusal.message} (request id: {request_id})"
        return {"error": {"message": message, "type": "comet_api_error", "param": "", "code": code}}

    def stray(self, method: str, path: str, request_id: str) -> tuple[int, JSON | str]:
        """A redirect where the prefix is missing, otherwise the web site."""
        return (301 if path.startswith("/v1/") else 200), _PAGE


class Passthrough(Official):
    """A gateway that hands Kling's bodies through, with its own key check."""

    name = "passthrough"
    prefix = "/kling"
    # As fast-token's and KUAI's documents have it (2026).
    bounds = Bounds(
        modes=("std", "pro"),
        durations=(5, 10),
        # J: the gateway documents know customize alone.
        shot_types=("customize",),
        required={
            "text2video": ("model_name", "mode", "duration", "multi_shot"),
            "image2video": ("model_name", "image", "mode", "duration"),
        },
        whole_objects=True,
    )
    finds_external_id = False
    lists = False
    signed_tokens = False

    def refused(self, refusal: Refusal, request_id: str) -> JSON:
        """Kling's own errors unchanged, the gateway's in New-API's style."""
        if refusal.status == 401:
            return _new_api_error(refusal.message, request_id)
        return super().refused(refusal, request_id)

    def stray(self, method: str, path: str, request_id: str) -> tuple[int, JSON | str]:
        """An unknown route."""
        return 404, _new_api_error(f"Invalid URL ({method} {path})", request_id)


class NewAPI(Passthrough):
    """New-API: OpenAI-style creates, doubly wrapped queries, codes as words."""

    name = "newapi"
    bounds = Bounds(
        required=dict.fromkeys(("text2video", "image2video", "multi-image2video"), ("model_name",))
    )
    openai_queries = True

    def normalized(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """`model` is taken for `model_name`, which is read first."""
        if not body.get("model_name") and body.get("model"):
            return {**body, "model_name": body["model"]}
        return body

    def created(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """An OpenAI video object."""
        # J: the documents promise Kling's envelope, the code sends this; the code wins.
        return {
            "id": job.task_id,
            "task_id": job.task_id,
            "object": "video",
            "model": job.order.model,
            "status": "",
            "progress": 0,
            "created_at": int(clock.unix(job.created)),
        }

    def queried(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """The gateway's record around Kling's own answer."""
        status, progress = _NEW_API_STATES.get(state.status, ("UNKNOWN", "30%"))
        done = state.status == "succeed"
        data: JSON = {
            "task_id": job.task_id,
            "action": "textGenerate" if job.endpoint == "text2video" else "generate",
            "status": status,
            # Not a slip: this field holds the URL once the task has succeeded.
            "fail_reason": job.file_url(VIDEO) if done else state.message,
            "submit_time": int(clock.unix(job.created)),
            "start_time": 0 if state.status == "submitted" else int(clock.unix(job.begins)),
            "finish_time": int(clock.unix(state.since)) if state.is_terminal else 0,
            "progress": progress,
            "data": self.envelope(task_object(job, state, clock), request_id),
        }
        return {"code": "success", "message": "", "data": data}

    def openai_video(self, job: Job, state: State, clock: Clock) -> JSON:
        """The task as OpenAI's API would show a video."""
        status, progress = _OPENAI_STATES.get(state.status, ("unknown", 0))
        video: JSON = {
            "id": job.task_id,
            "object": "video",
            "model": job.order.model,
            "status": status,
            "progress": progress,
            "created_at": int(clock.unix(job.created)),
        }
        if state.status == "succeed":
            video["metadata"] = {"url": job.file_url(VIDEO)}
        if state.status == "failed":
            video["error"] = {"message": state.message, "code": "task_failed"}
        return video

    def refused(self, refusal: Refusal, request_id: str) -> JSON:
        """An error whose code is a word; Kling's body becomes a string in its message."""
        if refusal.status == 401:
            return _new_api_error(refusal.message, request_id)
        if isinstance(refusal, TaskNotFound):
            return {"code": "task_not_exist", "message": "task_not_exist", "data": None}
        upstream = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
        message = json.dumps(upstream)
        if refusal.code == 1302:
            # Both habits are documented, so 1303 shows the one and 1302 the other:
            # the gateway replaces its own 429s by these words: its channels are overloaded.
            message = "当前分组上游负载已饱和，请稍后再试"
        return {"code": "fail_to_fetch_task", "message": message, "data": None}


class Crazyrouter(NewAPI):
    """A New-API descendant with a flat query answer."""

    name = "crazyrouter"
    openai_queries = False

    def queried(self, job: Job, state: State, clock: Clock, request_id: str) -> JSON:
        """The status, the URL and the error side by side."""
        failed = state.status == "failed"
        data: JSON = {
            "task_id": job.task_id,
            "status": _CRAZYROUTER_STATES.get(state.status, state.status),
            "url": job.file_url(VIDEO) if state.status == "succeed" else "",
            "format": "mp4",
            "metadata": None,
            "error": {"message": state.message, "code": "task_failed"} if failed else None,
        }
        return {"code": "success", "message": "", "data": data}


# D.3: "a wrong path may give 301 or an HTML page"; which of them is when is a guess.
_PAGE = "<!doctype html><html><head><title>CometAPI</title></head><body></body></html>"
_NEW_API_STATES = {
    "submitted": ("SUBMITTED", "10%"),
    "processing": ("IN_PROGRESS", "30%"),
    "succeed": ("SUCCESS", "100%"),
    "failed": ("FAILURE", "100%"),
}
_OPENAI_STATES = {
    "submitted": ("queued", 0),
    "processing": ("in_progress", 30),
    "succeed": ("completed", 100),
    "failed": ("failed", 100),
}
_CRAZYROUTER_STATES = {"submitted": "queued", "succeed": "succeeded"}


def _new_api_error(message: str, request_id: str) -> JSON:
    text = f"{message} (request id: {request_id})"
    return {"error": {"message": text, "type": "new_api_error", "code": ""}}


OFFICIAL = Official()
COMETAPI = CometAPI()
GATEWAYS: dict[str, Official] = {
    gateway.name: gateway for gateway in (Passthrough(), NewAPI(), Crazyrouter())
}
