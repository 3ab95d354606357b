"""Answers of every dialect become task states, and bad ones become errors that say why."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import from_json

from kling_async import (
    APIError,
    AuthenticationError,
    BadEnvelope,
    BalanceExhausted,
    ContentRejected,
    DuplicateTaskId,
    InvalidRequest,
    KlingError,
    ParallelLimit,
    PermissionDenied,
    RateLimited,
    ServerError,
    TaskNotFound,
    VideoResult,
)
from kling_async._envelope import read_page, read_task
from kling_async._exchange import Reply
from kling_async._state import TaskState, TaskStatus
from tests.wire import SAMPLES, answer, headers, json_bodies, json_values, kling, statuses

SUBMITTED, PROCESSING, SUCCEEDED, FAILED, UNKNOWN = TaskStatus
URL = "https://v16-kling-fdl.klingai.com/boat.mp4"
RESULT = {"videos": [{"id": "842", "url": URL, "duration": "5.1"}]}


def brief(value: object) -> str:
    """A parameter's name in the report."""
    return repr(value)[:30]


# KLING_API D.1, line by line.
TABLE: list[tuple[int, int, type[APIError]]] = [
    (401, 1000, AuthenticationError),
    (401, 1001, AuthenticationError),
    (401, 1002, AuthenticationError),
    (401, 1003, AuthenticationError),
    (401, 1004, AuthenticationError),
    (429, 1100, PermissionDenied),
    (429, 1101, BalanceExhausted),
    (429, 1102, BalanceExhausted),
    (403, 1103, PermissionDenied),
    (400, 1200, InvalidRequest),
    (400, 1201, InvalidRequest),
    (404, 1202, InvalidRequest),
    (404, 1203, InvalidRequest),
    (400, 1300, ContentRejected),
    (400, 1301, ContentRejected),
    (429, 1302, RateLimited),
    (429, 1303, ParallelLimit),
    (429, 1304, PermissionDenied),
    (500, 5000, ServerError),
    (503, 5001, ServerError),
    (504, 5002, ServerError),
]


def error_of(body: object, status: int = 400, **header: str) -> KlingError:
    """What reading such an answer raises."""
    with pytest.raises(KlingError) as caught:
        read_task(answer(body, status, **header))
    return caught.value


def told(**task: Any) -> TaskState:
    """The state read from Kling's own envelope around *task*."""
    return read_task(answer(kling({"task_id": "7", **task})))


# States


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_sample_is_read_as_it_says(sample: dict[str, Any]) -> None:
    state = read_task(answer(sample["body"]))

    actual = {name: getattr(state, name) for name in sample["state"]}
    actual |= {"units": str(state.units)} if "units" in actual else {}
    assert actual == sample["state"]


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_raw_is_the_answer_untouched(sample: dict[str, Any]) -> None:
    state = read_task(answer(sample["body"]))

    assert state.raw == sample["body"]


@pytest.mark.parametrize(
    "name", [name for name, sample in SAMPLES.items() if sample["state"]["status"] == "succeed"]
)
def test_every_dialects_success_gives_a_video(name: str) -> None:
    result = VideoResult.from_state(read_task(answer(SAMPLES[name]["body"])))

    assert result.url.startswith("https://")


@pytest.mark.parametrize("change", ["lower", "upper", "title"])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (SUBMITTED, "submitted not_start queued pending wait initializing"),
        (PROCESSING, "processing in_progress run"),
        (SUCCEEDED, "succeed succeeded success completed done"),
        (FAILED, "failed failure fail cancelled"),
        (UNKNOWN, "unknown paused"),
    ],
)
def test_case_of_a_status_does_not_matter(status: TaskStatus, words: str, change: str) -> None:
    spelled = [getattr(word, change)() for word in words.split()]
    states = [told(task_status=word) for word in spelled]

    assert {state.status for state in states} == {status}
    assert [state.word for state in states] == spelled


def test_white_space_around_a_status_does_not_matter() -> None:
    assert told(task_status=" succeed\n").status is SUCCEEDED


def test_empty_status_means_submitted() -> None:
    assert told(task_status="").status is SUBMITTED


@pytest.mark.parametrize("word", [None, 7, True, ["succeed"], {}])
def test_status_that_is_no_word_counts_as_running(word: object) -> None:
    state = told(task_status=word)

    assert state.status is UNKNOWN
    assert state.word == ""
    assert not state.status.is_terminal


def test_status_without_task_status_is_read() -> None:
    assert told(task_status=None, status="SUCCESS").status is SUCCEEDED


@pytest.mark.parametrize(
    ("outer", "inner", "result", "status"),
    [
        ("IN_PROGRESS", "processing", {}, PROCESSING),
        ("NOT_START", "processing", {}, PROCESSING),
        ("IN_PROGRESS", "submitted", {}, PROCESSING),
        ("IN_PROGRESS", "succeed", RESULT, SUCCEEDED),
        ("FAILURE", "succeed", RESULT, SUCCEEDED),
        ("SUCCESS", "succeed", RESULT, SUCCEEDED),
        ("SUCCESS", "processing", RESULT, SUCCEEDED),
        ("SUCCESS", "failed", RESULT, SUCCEEDED),
        ("SUCCESS", "processing", {}, PROCESSING),
        ("SUCCESS", "failed", {}, FAILED),
        ("IN_PROGRESS", "failed", {}, FAILED),
        ("FAILURE", "processing", {}, FAILED),
        ("FAILURE", "processing", RESULT, FAILED),
        ("unknown", "processing", {}, PROCESSING),
        ("IN_PROGRESS", "succeed", {}, SUCCEEDED),
    ],
)
def test_result_outweighs_disagreeing_layers(
    outer: str, inner: str, result: Any, status: TaskStatus
) -> None:
    own = kling({"task_id": "7", "task_status": inner, "task_result": result})
    state = read_task(
        answer({"code": "success", "data": {"task_id": "7", "status": outer, "data": own}})
    )

    assert state.status is status
    assert state.task_result == (result if status is SUCCEEDED else {})


def test_address_in_a_failures_reason_is_no_result() -> None:
    own = kling({"task_id": "7", "task_status": "succeed", "task_result": {}})
    outer = {"task_id": "7", "status": "FAILURE", "fail_reason": "https://gw.example/help"}
    state = read_task(answer({"code": "success", "data": {**outer, "data": own}}))

    assert state.task_result == {}


def test_outer_id_is_the_one_to_ask_with() -> None:
    body = {"data": {"task_id": "gw-1", "status": "SUCCESS", "data": kling({"task_id": "7"})}}

    assert read_task(answer(body)).id == "gw-1"


def test_result_of_a_running_task_is_held_back() -> None:
    assert told(task_status="processing", task_result=RESULT).task_result == {}


@pytest.mark.parametrize("result", [{}, {"videos": []}, None, "none", [RESULT]])
def test_success_without_a_file_is_no_result(result: object) -> None:
    state = told(task_status="succeed", task_result=result)

    assert state.status is SUCCEEDED
    with pytest.raises(ValueError, match="videos"):
        VideoResult.from_state(state)


@pytest.mark.parametrize("url", ["", "ftp://gw.example/a", "javascript:alert(1)", 7, None])
def test_only_web_addresses_are_results(url: object) -> None:
    assert told(task_status="succeed", url=url, metadata={"url": url}).task_result == {}


@pytest.mark.parametrize("number", [866889456698785798, 2**63, 0])
def test_numeric_ids_become_text(number: int) -> None:
    state = told(task_id=number, task_info={"external_task_id": number})

    assert (state.id, state.external_task_id) == (str(number), str(number))


@pytest.mark.parametrize("task_id", [None, "", True, 1.5, [], {}, 10**40], ids=brief)
def test_answer_without_a_usable_id_holds_no_task(task_id: object) -> None:
    error = error_of(kling({"task_id": task_id, "task_status": "submitted"}), 200)

    assert isinstance(error, BadEnvelope)
    assert "no task" in str(error)


@pytest.mark.parametrize(
    ("told_time", "seconds"),
    [
        (1774711071284, 1774711071.284),
        (1774711071, 1774711071.0),
        ("1774711071284", 1774711071.284),
        (0, None),
        (None, None),
        (True, None),
        ("soon", None),
        ([1], None),
        (10**400, None),
        (float("nan"), None),
    ],
    ids=brief,
)
def test_times_are_unix_seconds(told_time: object, seconds: float | None) -> None:
    state = told(created_at=told_time, updated_at=told_time)

    assert (state.created_at, state.updated_at) == (seconds, seconds)


@pytest.mark.parametrize(
    ("deduction", "units"),
    [
        ("1", Decimal(1)),
        ("3.50", Decimal("3.5")),
        (2, Decimal(2)),
        (0.6, Decimal("0.6")),
        ("", None),
        (None, None),
        ("free", None),
        ("NaN", None),
        ("9" * 31, None),
        (float("inf"), None),
        ([], None),
    ],
    ids=brief,
)
def test_units_are_decimal_or_not_known(deduction: object, units: Decimal | None) -> None:
    assert told(final_unit_deduction=deduction).units == units


@pytest.mark.parametrize("info", [None, "x", [], {}, {"external_task_id": None}])
def test_missing_external_id_is_none(info: object) -> None:
    assert told(task_info=info).external_task_id is None


def test_failure_without_a_reason_has_no_message() -> None:
    assert told(task_status="failed", task_status_msg=None, error={"message": 7}).message == ""


def test_message_is_only_a_failures() -> None:
    assert told(task_status="processing", task_status_msg="Risk control").message == ""


def test_last_of_duplicate_keys_counts() -> None:
    state = read_task(answer(b'{"code":1303,"code":0,"data":{"task_id":"7","task_id":"8"}}'))

    assert state.id == "8"


def test_layers_are_not_followed_without_end() -> None:
    body: dict[str, Any] = {"task_id": "7"}
    for _ in range(100):
        body = {"data": body}

    assert isinstance(error_of(body, 200), BadEnvelope)


@pytest.mark.parametrize("code", [0, "0", "success", None, False], ids=brief)
def test_good_codes_are_no_errors(code: object) -> None:
    assert read_task(answer({"code": code, "data": {"task_id": "7"}})).id == "7"


# Lists


def test_page_holds_its_tasks_in_order() -> None:
    items = [{"task_id": str(number), "task_status": "processing"} for number in (3, 1, 2)]
    states = read_page(answer(kling(items)))

    assert [state.id for state in states] == ["3", "1", "2"]
    assert [state.raw for state in states] == items


@pytest.mark.parametrize(
    "odd", ["NaN", "-Infinity", "1e-7", "9" * 50, r'"\u0000\ud83d\ude00"'], ids=brief
)
def test_raw_items_are_untouched_and_known_again(odd: str) -> None:
    item = f'{{"task_id":"7","odd":{odd}}}'
    reply = answer(f'{{"code":0,"data":[{item}]}}'.encode())
    [state] = read_page(reply)

    assert repr(state.raw) == repr(from_json(item))
    assert read_page(reply, {"7": state}.get)[0] is state


def test_junk_in_a_page_keeps_its_place() -> None:
    junk: list[Any] = [None, 7, "x", [], {}, {"task_status": "succeed"}, {"task_id": None}]
    states = read_page(answer(kling([*junk, {"task_id": "7", "task_status": "succeed"}])))

    assert [state.id for state in states] == [*[""] * len(junk), "7"]
    assert {state.status for state in states[:-1]} == {UNKNOWN}


def test_only_what_is_news_is_decoded() -> None:
    reply = answer(kling([{"task_id": task, "task_status": "processing"} for task in "12"]))
    first, second = read_page(reply)
    held = {"1": first, "2": replace(second, answer=second.answer.replace(b"process", b"submit"))}

    states = read_page(reply, held.get)

    assert states == [first, second]
    assert [state is told for state, told in zip(states, held.values(), strict=True)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(("task_id", "told"), [("8", ""), ("7", "7"), (7, "7")], ids=repr)
def test_strangers_keep_their_places(task_id: str | int, told: str) -> None:
    held = {"7": TaskState("7", UNKNOWN)}

    states = read_page(answer(kling([{"task_id": task_id}, None])), held.get)

    assert [state.id for state in states] == [told, ""]


def test_page_past_the_end_is_empty() -> None:
    assert read_page(answer(kling([]))) == []


@pytest.mark.parametrize("data", [{}, {"task_id": "7"}, None, "x"])
def test_page_that_is_no_list_is_an_error(data: object) -> None:
    with pytest.raises(BadEnvelope, match="no list"):
        read_page(answer(kling(data)))


def test_refused_page_raises_what_the_server_said() -> None:
    with pytest.raises(RateLimited):
        read_page(answer({"code": 1302, "message": "too fast"}, 429))


# Errors


@pytest.mark.parametrize(("status", "code", "kind"), TABLE)
def test_code_decides_the_class(status: int, code: int, kind: type[APIError]) -> None:
    body = {"code": code, "message": "no", "request_id": "req-1"}
    error = error_of(body, status)

    assert type(error) is kind
    assert (error.code, error.status, error.request_id) == (code, status, "req-1")
    assert isinstance(error, APIError)
    assert error.raw == body


@pytest.mark.parametrize("status", [200, 299, 400, 429, 500])
@pytest.mark.parametrize(("_", "code", "kind"), TABLE)
def test_http_status_does_not_change_the_class(
    status: int, _: int, code: int, kind: type[APIError]
) -> None:
    assert type(error_of({"code": str(code), "message": "no"}, status)) is kind


def test_code_above_zero_is_an_error_even_with_a_task() -> None:
    assert isinstance(error_of({"code": 5000, "data": {"task_id": "7"}}, 200), ServerError)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, 9999, APIError),
        (301, 9999, APIError),
        (400, 9999, InvalidRequest),
        (400, 5999, ServerError),
        (429, 5999, ServerError),
        (429, 1399, RateLimited),
        (402, "", BalanceExhausted),
        (408, "", ServerError),
        (499, "", ServerError),
        (500, 1299, ServerError),
        (524, None, ServerError),
        (400, 1.5, InvalidRequest),
        (400, 10**40, InvalidRequest),
        (400, -1, InvalidRequest),
        (400, True, InvalidRequest),
        (400, [1303], InvalidRequest),
    ],
    ids=brief,
)
def test_unknown_code_falls_back_on_http(status: int, code: object, kind: type[APIError]) -> None:
    assert type(error_of({"code": code, "message": "no"}, status)) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "", InvalidRequest),
        (401, "", AuthenticationError),
        (403, "", PermissionDenied),
        (429, "", RateLimited),
        (500, "", ServerError),
        (500, "invalid_request", InvalidRequest),
        (503, "", ServerError),
        (524, "", ServerError),
        (400, "1303", ParallelLimit),
    ],
)
def test_cometapis_errors_are_read(status: int, code: str, kind: type[APIError]) -> None:
    message = "it went wrong (request id: 2026-abc)"
    told_error = {"message": message, "type": "comet_api_error", "param": "", "code": code}
    error = error_of({"error": told_error}, status)

    assert type(error) is kind
    assert (error.message, error.request_id) == (message, "2026-abc")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_api_platform", InvalidRequest),
        (500, "model_mapping_failed", ServerError),
        (500, "get_user_quota_failed", ServerError),
        (403, "quota_not_enough", BalanceExhausted),
        (400, "task_not_exist", TaskNotFound),
        (503, "channel_not_found", ServerError),
        (500, "build_request_failed", ServerError),
        (400, "do_request_failed", ServerError),
        (400, "read_response_body_failed", ServerError),
        (400, "unmarshal_response_failed", ServerError),
        (400, "task_failed", InvalidRequest),
        (504, "fail_to_fetch_task", ServerError),
    ],
)
def test_new_apis_words_are_read(status: int, code: str, kind: type[APIError]) -> None:
    error = error_of({"code": code, "message": "it went wrong", "data": None}, status)

    assert type(error) is kind
    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize(("status", "code", "kind"), TABLE)
def test_klings_answer_inside_a_gateways_counts(
    status: int, code: int, kind: type[APIError]
) -> None:
    inner = json.dumps({"code": code, "message": "the reason", "request_id": "req-7"})
    body = {"code": "fail_to_fetch_task", "message": inner, "data": None}
    error = error_of(body, status)

    assert type(error) is kind
    assert (error.code, error.message, error.request_id) == (code, "the reason", "req-7")
    assert isinstance(error, APIError)
    assert error.raw == body


def test_gateway_behind_a_gateway_is_seen_through() -> None:
    message = json.dumps({"code": 1303, "message": "parallel task over resource pack limit"})
    for _ in range(3):
        message = json.dumps({"code": "fail_to_fetch_task", "message": message})
    error = error_of({**json.loads(message), "request_id": "outer"}, 429)

    assert type(error) is ParallelLimit
    assert error.request_id == "outer"


@pytest.mark.parametrize("message", ["<html>", "7", "{}", '{"message": ""', "", None])
def test_unreadable_inner_answer_leaves_the_outer(message: str | None) -> None:
    error = error_of({"code": "fail_to_fetch_task", "message": message}, 502)

    assert type(error) is ServerError
    assert error.code == "fail_to_fetch_task"


def test_saturated_gateway_is_a_rate_limit() -> None:
    body = {"code": "fail_to_fetch_task", "message": "当前分组上游负载已饱和，请稍后再试"}

    assert type(error_of(body, 429)) is RateLimited


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"code": 1201, "message": "Task not found by id/external id: ka-1"}),
        (404, {"error": {"message": "task not found", "code": ""}}),
        (400, {"code": "task_not_exist", "message": "task_not_exist", "data": None}),
    ],
)
def test_missing_task_has_a_class(status: int, body: object) -> None:
    assert type(error_of(body, status)) is TaskNotFound


@pytest.mark.parametrize(
    "message", ["Voice id not found", "image can not be null", "duration value '99' is invalid"]
)
def test_other_invalid_values_are_no_missing_task(message: str) -> None:
    assert type(error_of({"code": 1201, "message": message})) is InvalidRequest


def test_taken_external_id_has_a_class() -> None:
    error = error_of({"code": 1201, "message": "External_task_id ka-1 already exists"})

    assert type(error) is DuplicateTaskId


def test_words_of_a_server_failure_prove_nothing() -> None:
    assert type(error_of({"code": 5000, "message": "Task not found"}, 500)) is ServerError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("86400", 86400.0),
        ("-1", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("9" * 5000, None),
    ],
    ids=brief,
)
@pytest.mark.parametrize(("status", "code"), [(429, 1302), (429, 1303), (503, 5001)])
def test_retry_after_is_seconds_or_nothing(
    value: str, seconds: float | None, status: int, code: int
) -> None:
    error = error_of({"code": code, "message": "no"}, status, retry_after=value)

    assert isinstance(error, RateLimited | ServerError)
    assert error.retry_after == seconds


def test_request_id_in_a_header_is_the_last_resort() -> None:
    assert error_of({"code": 1200, "message": "no"}, x_request_id="head").request_id == "head"


def test_error_without_a_message_says_so() -> None:
    assert error_of({"code": 1200, "message": {"no": "text"}}).message == "no reason given"


def test_endless_message_is_cut() -> None:
    error = error_of({"code": 1200, "message": "x" * 1_000_000})

    assert len(str(error)) < 3000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"code":0,"data":{"task_id":"7"',
        b"[" * 100_000,
        b'{"data":' * 100_000,
        b'{"code":0,"data":{"task_id":"\xff"}}',
        b'{"code":0,"data":{"task_id":"\\ud800"}}',
        b'{"code":' + b"9" * 5000 + b"}",
        b'{"code":0,"data":{"task_id":"7","created_at":' + b"9" * 5000 + b"}}",
        b"[]",
        b'"x"',
        b"7",
        b"NaN",
        b"null",
    ],
    ids=lambda content: repr(content[-12:]),
)
@pytest.mark.parametrize("status", [200, 301, 404, 502])
def test_what_is_no_json_object_is_a_bad_envelope(content: bytes, status: int) -> None:
    error = error_of(content, status)

    assert isinstance(error, BadEnvelope)
    assert error.status == status
    assert error.body == content[:2000]


def test_integer_of_4300_digits_can_be_shown() -> None:
    error = error_of(b'{"code":' + b"9" * 4300 + b',"message":' + b"9" * 4300 + b"}")

    assert len(str(error)) < 200


@pytest.mark.parametrize("code", [float("nan"), float("inf"), 0.5])
def test_fractional_code_is_an_error(code: float) -> None:
    assert type(error_of({"code": code, "message": "no"}, 200)) is APIError


def test_redirect_names_its_target() -> None:
    error = error_of(b"<a>", 301, location="https://www.cometapi.com/login")

    assert "redirecting to https://www.cometapi.com/login" in str(error)


@pytest.mark.parametrize("status", [301, 404, 500])
def test_good_envelope_needs_a_good_status(status: int) -> None:
    error = error_of({"code": 0, "data": {"task_id": "7"}}, status)

    assert isinstance(error, BadEnvelope)


def test_good_code_with_a_message_and_a_bad_status_is_an_error() -> None:
    assert isinstance(error_of({"code": 0, "message": "no"}, 500), ServerError)


# Anything at all


@given(statuses, headers, st.binary())
def test_any_bytes_give_a_state_or_an_error(
    status: int, header: dict[str, str], content: bytes
) -> None:
    assert_read(Reply(status, header, content))


@given(statuses, headers, json_values | json_bodies)
@example(200, {}, {"task_id": "7", "task_result": {"videos": [{"url": "x", "id": {}}]}})
def test_any_json_gives_a_state_or_an_error(
    status: int, header: dict[str, str], body: object
) -> None:
    assert_read(Reply(status, header, json.dumps(body).encode()))


@given(json_values, json_bodies)
def test_any_task_in_kling_s_envelope_gives_a_state(data: object, task: dict[str, Any]) -> None:
    assert_read(answer(kling({"task_id": "7", **task, "data": data})))
    assert_read(answer(kling([data, task])))


@given(json_bodies, st.sampled_from(["succeed", "SUCCESS"]))
def test_any_result_gives_videos_or_a_value_error(result: dict[str, Any], word: str) -> None:
    assert_read(answer(kling({"task_id": "7", "task_status": word, "task_result": result})))


def assert_read(reply: Reply) -> None:
    """Reading gives what it may and raises what it may, and both can be shown."""
    states: list[TaskState] = []
    try:
        states.append(read_task(reply))
    except KlingError as error:
        str(error)
    try:
        states.extend(state for state in read_page(reply) if state.id)
    except KlingError as error:
        str(error)
    for state in states:
        assert state.id
        with suppress(ValueError):
            assert VideoResult.from_state(state).url


@pytest.mark.parametrize("code", [200, "", "SUCCESS", "ok"])
def test_task_behind_an_unknown_word_of_success_is_not_lost(code: object) -> None:
    body = {"code": code, "data": {"task_id": "7", "task_status": "submitted"}}

    assert read_task(Reply(200, {}, json.dumps(body).encode())).id == "7"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (403, PermissionDenied), (429, RateLimited)],
)
def test_page_of_a_firewall_goes_by_its_status(status: int, kind: type[APIError]) -> None:
    reply = Reply(status, {"retry-after": "7"}, b"<html>go away</html>")

    with pytest.raises(kind, match="without Kling's JSON"):
        read_task(reply)
