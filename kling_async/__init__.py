"""Kling video generation for asyncio: every public name, and nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from ._attempt import Stage
    from ._batch import Batch, Summary
    from ._capabilities import MODELS, Model
    from ._client import Kling
    from ._config import Downloads, Retries, Timeouts
    from ._download import VideoStream
    from ._errors import (
        AnswerLost,
        APIError,
        AuthenticationError,
        BadEnvelope,
        BalanceExhausted,
        BatchStopped,
        CallbackRefused,
        ClientClosed,
        ConfigurationError,
        ConnectFailed,
        ContentRejected,
        DownloadError,
        DuplicateTaskId,
        IntentExpired,
        InvalidRequest,
        JournalError,
        KlingError,
        MediaError,
        NotServed,
        ParallelLimit,
        PermissionDenied,
        RateLimited,
        RequestChanged,
        RequestRefused,
        ServerError,
        SubmissionUnknown,
        TaskError,
        TaskFailed,
        TaskNotFound,
        TaskTimeout,
        TransportError,
    )
    from ._events import (
        DownloadFinished,
        DownloadProgressed,
        Event,
        ExchangeFinished,
        Hook,
        KlingClosed,
        RetryScheduled,
        SlotsChanged,
        TaskFinished,
        TaskPolled,
        TaskSubmitted,
        TaskTakenUp,
    )
    from ._journal import Journal
    from ._limits import Limits
    from ._map import Outcomes
    from ._outcome import BatchOutcome, Outcome
    from ._polling import Polling
    from ._report import write_report
    from ._results import Video, VideoResult
    from ._server import KlingWarning
    from ._state import TaskState, TaskStatus
    from ._task import Task
    from .endpoints import (
        Avatar,
        CameraConfig,
        CameraControl,
        DynamicMask,
        Element,
        Image2Video,
        MultiImage2Video,
        MultiShot,
        ReferenceImage,
        Request,
        Text2Video,
        Trajectory,
        Voice,
        WatermarkInfo,
    )
    from .providers import CometAPI, Gateway, KlingAI, Provider

__all__ = [
    "__version__",
    "AnswerLost",
    "APIError",
    "AuthenticationError",
    "Avatar",
    "BadEnvelope",
    "BalanceExhausted",
    "Batch",
    "BatchOutcome",
    "BatchStopped",
    "CallbackRefused",
    "CameraConfig",
    "CameraControl",
    "ClientClosed",
    "CometAPI",
    "ConfigurationError",
    "ConnectFailed",
    "ContentRejected",
    "DownloadError",
    "DownloadFinished",
    "DownloadProgressed",
    "Downloads",
    "DuplicateTaskId",
    "DynamicMask",
    "Element",
    "Event",
    "ExchangeFinished",
    "Gateway",
    "Hook",
    "Image2Video",
    "IntentExpired",
    "InvalidRequest",
    "Journal",
    "JournalError",
    "Kling",
    "KlingAI",
    "KlingClosed",
    "KlingError",
    "KlingWarning",
    "Limits",
    "MediaError",
    "Model",
    "MODELS",
    "MultiImage2Video",
    "MultiShot",
    "NotServed",
    "Outcome",
    "Outcomes",
    "ParallelLimit",
    "PermissionDenied",
    "Polling",
    "Provider",
    "RateLimited",
    "ReferenceImage",
    "Request",
    "RequestChanged",
    "RequestRefused",
    "Retries",
    "RetryScheduled",
    "ServerError",
    "SlotsChanged",
    "Stage",
    "SubmissionUnknown",
    "Summary",
    "Task",
    "TaskError",
    "TaskFailed",
    "TaskFinished",
    "TaskNotFound",
    "TaskPolled",
    "TaskState",
    "TaskStatus",
    "TaskSubmitted",
    "TaskTakenUp",
    "TaskTimeout",
    "Text2Video",
    "Timeouts",
    "Trajectory",
    "TransportError",
    "Video",
    "VideoResult",
    "VideoStream",
    "Voice",
    "WatermarkInfo",
    "write_report",
]

# In the order of the layers. A name is loaded when it is first used: `import kling_async` then
# costs a command line or a web worker nothing that it does not use.
_HOMES = (
    "_errors",
    "_state",
    "_limits",
    "_config",
    "_polling",
    "_events",
    "_capabilities",
    "_results",
    "endpoints",
    "providers",
    "_server",
    "_download",
    "_task",
    "_map",
    "_outcome",
    "_attempt",
    "_journal",
    "_report",
    "_batch",
    "_client",
)


def __getattr__(name: str) -> object:
    for home in _HOMES if name in __all__ else ():
        module = import_module(f".{home}", __name__)
        if name in vars(module):
            globals()[name] = vars(module)[name]
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
