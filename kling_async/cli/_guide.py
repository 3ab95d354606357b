"""The guide: `kling --help`, and the table of commands, without loading any of them."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (where it is, what it does)
    "text2video": ("_making:text2video", "make a video from a prompt"),
    "image2video": ("_making:image2video", "make a video from its first or last frame"),
    "multi-image2video": ("_making:multi_image2video", "make a video from several images"),
    "avatar": ("_making:avatar", "make a portrait speak"),
    "batch": ("_batch:batch", "make the videos of a .csv or .jsonl file, resumably"),
    "wait": ("_tasks:wait", "wait for tasks by their tokens, as they finish"),
    "status": ("_tasks:status", "ask how tasks stand, once"),
    "download": ("_tasks:download", "save the videos of tasks that have ended"),
    "list": ("_tasks:tasks", "list the account's tasks, where the provider does"),
    "settle": ("_tasks:settle", "look for a task whose create was lost"),
    "export": ("_tables:export", "write a batch's journal as .csv or .jsonl"),
    "report": ("_tables:report", "write a batch's journal as a page to look at"),
    "demo": ("_demo:demo", "make 24 videos on an emulator that fails; no key, no bill"),
    "models": ("_tables:models", "show what each model can do"),
    "doctor": ("_doctor:doctor", "check key, clock, host and provider; costs nothing"),
    "emulator": ("", "imitate Kling on a port, without a key or a bill"),
}

CODES = (
    "all fine",
    "some failed",
    "bad usage; nothing was sent",
    "not allowed: no key, a refused key, an empty account",
    "interrupted, timed out or unknown: work is pending; it says how to go on",
)


def guide() -> str:
    """What `kling --help` says."""
    commands = "".join(f"  {name:<18} {what}\n" for name, (_, what) in COMMANDS.items())
    codes = "".join(f"  {number}  {what}\n" for number, what in enumerate(CODES))
    return _TEXT.format(commands=commands, codes=codes)


_TEXT = """\
Usage: kling COMMAND [OPTIONS]

Kling videos from the command line. Videos cost money; nothing else here does.

Commands (kling COMMAND --help says more):
{commands}
Options of all commands:
  --provider NAME    cometapi, kling or gateway; by default whose key is set
  --base-url URL     another host; a gateway needs one
  --json             one JSON object a line on stdout; all else is on stderr
  -v, --verbose      say each submit and each end
  --quiet            say nothing but results and errors

Keys are read from COMETAPI_KEY, KLINGAI_API_KEY, KLINGAI_ACCESS_KEY with
KLINGAI_SECRET_KEY, and KLING_GATEWAY_KEY.

Exit codes:
{codes}"""
