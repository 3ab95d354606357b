"""Workflows: a job's life in steps that DBOS journals, so that any worker goes on with it.

A step gives what came of it, errors too, as JSON: so a workflow that is replayed decides as it
did the first time. What costs nothing to repeat, and comes last, is no step of its own: waiting, as
a task that has ended stays so, and saving. The workflow's own end is their entry in the journal.
"""

from __future__ import annotations

from typing import Any

from dbos import DBOS, WorkflowSerializationFormat

from kling_async.engines._crew import Answer, Crew, Order, at_work
from kling_async.engines._failure import failed
from kling_async.engines._names import FILES, TASK, TOPIC

_PORTABLE = WorkflowSerializationFormat.PORTABLE

_TRIES = 300
_LONGEST_PAUSE = 300.0
_LOOKS = (60.0, 600.0, 3600.0)
_CALLS = 20


@DBOS.workflow(name=TASK, serialization_type=_PORTABLE)
async def task(order: Order) -> Answer:
    """Make the task of a job and wait for its end, in a slot of the account's."""
    async with at_work(order["account"]) as crew:
        created = await _created(crew, order)
        token: str = created["token"]
        ended = await _called(crew, token) if created["is_called"] else None
        if ended is None:
            ended = await crew.wait(token)
        result = _or_failed(ended)["result"]
        if order["to"] is not None:
            await DBOS.enqueue_workflow_with_options_async(
                {
                    "workflow_name": FILES,
                    "queue_name": crew.names.files,
                    "workflow_id": crew.names.download(order["key"]),
                    "serialization_type": _PORTABLE,
                },
                order,
                result,
            )
        return {"token": token, "result": result}


@DBOS.workflow(name=FILES, serialization_type=_PORTABLE)
async def files(order: Order, result: Answer) -> list[str]:
    """Save the files of a job, in no slot of the account's."""
    async with at_work(order["account"]) as crew:
        saved = await crew.save(order, result)
        paths: list[str] = _or_failed(saved)["files"]
        return paths


async def _created(crew: Crew, order: Order) -> Answer:
    failures = 0
    while True:
        pause = min(_LONGEST_PAUSE, 2.0**failures) if failures else 0.0
        intent = await DBOS.run_step_async({"name": "intend"}, crew.intend, pause)
        answer = await DBOS.run_step_async({"name": "submit"}, crew.submit, order, intent)
        if "again" not in answer:
            break
        if answer["again"] is not None:
            failures += 1
            if failures > _TRIES:
                raise failed(answer["again"])
    for pause in _LOOKS:
        if "unknown" not in answer or "token" not in answer["unknown"]["data"]:
            break
        unknown = answer["unknown"]
        answer = await DBOS.run_step_async({"name": "settle"}, crew.settle, order, unknown, pause)
    return _or_failed(answer)


async def _called(crew: Crew, token: str) -> Answer | None:
    """What a callback led to; None if it does not come, or too many come that are not true."""
    for _ in range(_CALLS):
        if await DBOS.recv_async(TOPIC, crew.patience) is None:
            return None
        answer = await DBOS.run_step_async({"name": "look"}, crew.look, token)
        if answer:
            return answer
    return None


def _or_failed(answer: Answer) -> dict[str, Any]:
    for what in ("error", "unknown"):
        if what in answer:
            raise failed(answer[what])
    return answer
