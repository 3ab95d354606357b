"""Names every refusal of Kling's error table, with its HTTP status."""

from __future__ import annotations

STATUSES = {
    1000: 401,
    1001: 401,
    1002: 401,
    1003: 401,
    1004: 401,
    # Of the six with status 429 only 1302 and 1303 pass: a trap for clients.
    1100: 429,
    1101: 429,
    1102: 429,
    1103: 403,
    1200: 400,
    1201: 400,
    1202: 404,
    1203: 404,
    1300: 400,
    1301: 400,
    1302: 429,
    1303: 429,
    1304: 429,
    5000: 500,
    5001: 503,
    5002: 504,
}
"""HTTP status by Kling's code."""

MESSAGES = {
    1000: "Authentication failed",
    1001: "Authorization is empty",
    1002: "Authorization is invalid",
    1003: "Authorization is not yet valid",
    1004: "Authorization has expired",
    1100: "Account exception",
    1101: "Account in arrears",
    1102: "Account balance not enough",
    1103: "No permission for the requested resource",
    1200: "Invalid request parameters",
    1202: "The requested method is invalid",
    1203: "The requested resource does not exist",
    1300: "Triggered the platform policy",
    1301: "Triggered the content security policy",
    1302: "The API request is too fast, exceeding the rate limit",
    1303: "parallel task over resource pack limit",
    1304: "The request triggered the platform's IP whitelist policy",
    5000: "Internal server error",
    5001: "The server is temporarily unavailable",
    5002: "Server internal timeout",
}
"""What is said with a code that has one wording."""


class Refusal(Exception):
    """A request is refused with one of Kling's codes; dialects word it."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = MESSAGES[code] if message is None else message
        self.status = STATUSES[code]
        super().__init__(f"{code} {self.message}")


class TaskNotFound(Refusal):
    """The asked-for task is not this account's, or not under this path."""

    def __init__(self, task_id: str) -> None:
        super().__init__(1201, f"Task not found by id/external id: {task_id}")
