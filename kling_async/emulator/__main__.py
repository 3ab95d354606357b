"""Runs the emulator on a port: `python -m kling_async.emulator`."""

from __future__ import annotations

import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Sequence

import anyio

from kling_async.emulator._emulator import Emulator

_GREETING = """\
The Kling emulator listens on {origin}; Ctrl-C stops it.

  CometAPI  {origin}
  official  {origin}/official
  gateways  {origin}/gateway/newapi  (or passthrough, crazyrouter)
  ledger    {origin}/ledger

  from kling_async import CometAPI, Kling
  kling = Kling(CometAPI("any-key", base_url="{origin}"))
"""


def main(
    arguments: Sequence[str] | None = None, program: str = "python -m kling_async.emulator"
) -> int:
    """Run until interrupted; returns the exit code."""
    options = _parser(program).parse_args(arguments)
    emulator = Emulator(
        speed=options.speed,
        seed=options.seed,
        parallel=options.parallel,
        rate=options.rate,
        keys=options.key,
        duration=options.duration,
        chaos=options.chaos,
        webhook_secret=options.webhook_secret,
        video_bytes=options.video_bytes,
        latency=options.latency,
    )
    try:
        anyio.run(_serve, emulator, options)
    # uvicorn is imported only when a port is asked for.
    except ImportError as error:
        print(f'{error}: pip install "kling_async[emulator]"', file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{emulator.ledger.summary()}")
    return 0


async def _serve(emulator: Emulator, options: Namespace) -> None:
    async with emulator.serve(host=options.host, port=options.port) as origin:
        print(_GREETING.format(origin=origin), flush=True)
        await anyio.sleep_forever()


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog=program,
        description="A server that looks like Kling, CometAPI and New-API gateways.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8000, help="0 takes a free one")
    add("--speed", type=float, default=1.0, help="simulated seconds per second")
    add("--seed", type=int, default=0, help="of all chance")
    add("--parallel", type=int, help="tasks in progress per key and model, then 1303")
    add("--rate", type=float, help="creates per second and key, then 1302")
    add("--duration", type=float, help="simulated seconds of every task; random by default")
    add("--chaos", type=float, default=0.0, help="probability of a random fault per request")
    add("--latency", type=float, default=0.0, help="seconds each answer takes")
    add("--key", action="append", help="an accepted key, repeatable; any by default")
    add("--webhook-secret", help="whsec_..., signs callbacks")
    add("--video-bytes", type=int, help="pads every video to about this size")
    return parser


if __name__ == "__main__":
    sys.exit(main())
