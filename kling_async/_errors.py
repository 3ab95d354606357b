"""Every exception of the package, in one tree.

KlingError
  x ConfigurationError    no key, a malformed key or address (also ValueError)
  x RequestRefused        refused here, before anything was sent (also ValueError)
    - MediaError          an image or audio file that Kling would refuse
  x TransportError        no usable answer came
    - ConnectFailed       nothing was sent
    - AnswerLost          sent, and the answer is missing
    - BadEnvelope         an answer that is not one of Kling's
  x APIError              the server said no
    - AuthenticationError, PermissionDenied, BalanceExhausted, InvalidRequest,
      DuplicateTaskId, ContentRejected, TaskNotFound, RateLimited,
      ParallelLimit, ServerError, NotServed
  x TaskError             a task that has no result; carries its token
    - SubmissionUnknown, TaskFailed, TaskTimeout (also TimeoutError),
      ClientClosed
  x DownloadError         a result that could not be saved
  x JournalError          a journal that cannot be read or written
  x BatchStopped          a batch that submits no more; its cause says why
  x RequestChanged        a row of a journal that was another request before
                          (also ValueError)
  x IntentExpired         an engine's step that waited too long to create anything
  x CallbackRefused       a callback that is none of Kling's
"""

from __future__ import annotations

from typing import Any


class KlingError(Exception):
    """Base class: ``except KlingError`` catches all that goes wrong with a well-formed request.

    A request that is malformed in itself is pydantic's `ValidationError`, a ValueError.
    """

    advice: str = ""

    def __init__(
        self,
        message: str = "",
        *,
        code: int | str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        provider: str | None = None,
        advice: str | None = None,
    ) -> None:
        # One positional argument and optional keywords: that is what lets every
        # subclass survive pickling with the default `__reduce__`.
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.provider = provider
        if advice is not None:
            self.advice = advice

    def __str__(self) -> str:
        facts = [
            f"code {self.code}" if self.code not in (None, "") else "",
            f"HTTP {self.status}" if self.status is not None else "",
            self.provider or "",
        ]
        context = ", ".join(fact for fact in facts if fact)
        text = f"{self.message} ({context})" if context else self.message
        if self.request_id:
            text = f"request {self.request_id}: {text}"
        return f"{text.rstrip('. ')}. {self.advice}" if self.advice else text


class ConfigurationError(KlingError, ValueError):
    """The client cannot be built from what it was given."""


class RequestRefused(KlingError, ValueError):
    """A request that the provider would refuse; nothing was sent."""

    def __init__(self, message: str = "", *, field: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.field = field


class MediaError(RequestRefused):
    """An image or audio that Kling would refuse; nothing was sent."""


class TransportError(KlingError):
    """No usable answer came from the server."""


class ConnectFailed(TransportError):
    """No connection, so nothing was sent and nothing was created."""

    advice = "Check the host and the network, then try again."


class AnswerLost(TransportError):
    """The request left and its answer did not arrive; it may have been carried out."""

    advice = "Asking again is safe; a create may have been carried out."


class BadEnvelope(TransportError):
    """The server answered with something that is no Kling answer."""

    advice = "If it lasts, check base_url and that the provider serves this endpoint."

    def __init__(self, message: str = "", *, body: bytes = b"", **context: Any) -> None:
        super().__init__(message, **context)
        self.body = body[:2000]


class APIError(KlingError):
    """The server said no."""

    advice = "Look the code up at the provider; `raw` holds the whole answer."

    def __init__(self, message: str = "", *, raw: Any = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.raw = raw


class AuthenticationError(APIError):
    """The key is missing, wrong or expired."""

    advice = "Check the key."


class PermissionDenied(APIError):
    """The key is good, the account may not do this."""

    advice = "Ask the provider to enable it for the account; trying again will not help."


class BalanceExhausted(APIError):
    """Arrears, or a resource pack that is used up or expired."""

    advice = "Top up the account; trying again before that will not help."


class InvalidRequest(APIError):
    """The server refused a parameter; nothing was created or charged."""

    advice = "Correct the request; sending it again unchanged will not help."


class DuplicateTaskId(InvalidRequest):
    """The external_task_id is taken: a task with it exists already."""

    advice = "Get that task by its external_task_id, or choose another one."


class ContentRejected(APIError):
    """The prompt or the media offends the content policy."""

    advice = "Change the prompt or the media; sending it again unchanged will not help."


class TaskNotFound(APIError):
    """The server knows no such task on this endpoint and account."""

    advice = "Check the id, the endpoint it was created on, and the account."


class RateLimited(APIError):
    """Too many requests; `retry_after` holds the server's hint in seconds, if any."""

    advice = "Wait, then try again."

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.retry_after = retry_after


class ParallelLimit(RateLimited):
    """As many tasks are in progress as the account allows."""

    advice = "Wait until a task has ended, then try again."


class ServerError(APIError):
    """The server failed; a create may or may not have been carried out."""

    advice = "Try again later."

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.retry_after = retry_after


class NotServed(APIError):
    """This provider has no such call."""

    advice = "Use a provider that serves it."


class TaskError(KlingError):
    """A task that has no result; `token` takes it up again."""

    advice = "Look at the task with kling.task(token), or in the provider's console."

    def __init__(
        self,
        message: str = "",
        *,
        task_id: str | None = None,
        external_task_id: str | None = None,
        token: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.task_id = task_id
        self.external_task_id = external_task_id
        self.token = token


class SubmissionUnknown(TaskError):
    """The create was sent and nobody can say whether a task came of it.

    It may exist and be billed under `external_task_id`. Submitting the request again
    may pay for it twice, so that is left to you: `submit(request, resend=True)`.
    """

    advice = (
        "Look again later with kling.settle(token), or in the provider's console. To send it once"
        " more and risk paying twice: submit(request, resend=True)."
    )


class TaskFailed(TaskError):
    """Kling ended the task without a result and said why."""

    advice = "Correct what the reason names; submitting it again makes a new, paid task."


class TaskTimeout(TaskError, TimeoutError):
    """The wait ended, the task did not; `kling.task(error.token)` goes on waiting."""

    advice = "The task goes on; take it up again with kling.task(token)."


class ClientClosed(TaskError):
    """The client was closed while the task was waited for."""

    advice = "The task goes on; take it up again with kling.task(token)."


class DownloadError(KlingError):
    """The file could not be fetched or saved; nothing half-written goes by its name."""

    advice = "The result stays on the server for 30 days; download it again."

    def __init__(self, message: str = "", *, token: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.token = token
        """What `kling.task(token)` gets the result by again, with its present address."""


class JournalError(KlingError):
    """The journal cannot be read or written; nothing else was touched."""

    advice = "Check the path, the permissions, and the room on the disk."


class RequestChanged(KlingError, ValueError):
    """The row of this key was another request before; the row stays as it was."""

    advice = "Give the new request a key of its own, or the old one back."


class IntentExpired(KlingError):
    """A create was not sent, as what was written down of it had become too old."""

    advice = "Journal another intent and submit by that one."


class BatchStopped(KlingError):
    """The batch stopped submitting before its end; its `__cause__` is what stopped it, if any."""

    advice = "Everything so far is in the journal: the same call goes on where this one stopped."


class CallbackRefused(KlingError):
    """A callback that is none of Kling's; `status` is the HTTP status to answer it with."""

    advice = "Answer it with that status and nothing else."
