"""Entry point of `orders ...` and `python -m workers.cli ...`. It imports little, so that Ctrl-C is always one line."""

import sys

INTERRUPTED, TERMINATED = 130, 143  # The shell's convention: 128 and the number of the signal, SIGINT or SIGTERM.


def main() -> int:
    """Run the command that is given on the command line; return its exit code. SIGTERM ends it as Ctrl-C does."""
    terminated = False
    try:
        import signal  # noqa: PLC0415 - takes a while.

        def terminate(number: int, frame: object) -> None:
            nonlocal terminated
            terminated = True
            interrupt = signal.getsignal(signal.SIGINT)  # The event loop's, while one runs.
            if not callable(interrupt):  # A shell script ignores SIGINT for what it starts in the background.
                interrupt = signal.default_int_handler
            interrupt(number, frame)  # type: ignore[arg-type]

        before = signal.signal(signal.SIGTERM, terminate)
        try:
            from workers.cli.main import main as run  # noqa: PLC0415 - takes a while.

            code = run()
        finally:
            signal.signal(signal.SIGTERM, before)
    except KeyboardInterrupt:
        print("orders: interrupted; the command can be repeated", file=sys.stderr)  # noqa: T201 - click may be missing.
        code = INTERRUPTED
    return TERMINATED if terminated and code == INTERRUPTED else code


if __name__ == "__main__":
    sys.exit(main())
