"""A clock that also runs while the machine is suspended."""

import time

_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it.


def elapsed_s() -> float:
    """
    Return the seconds since some fixed moment, including those in which the machine was suspended.

    Use it for times that another system measures too, such as SQS's visibility timeout: the clock of the event loop
    and `time.monotonic` stop while the machine is suspended. Systems without `CLOCK_BOOTTIME` use the wall clock.
    """
    return time.time() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)
