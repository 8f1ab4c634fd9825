"""The double of AWS waits for timers only, so the tests run in virtual time."""

from tests.virtual_time import pytest_asyncio_loop_factories, virtual_elapsed_s

__all__ = ["pytest_asyncio_loop_factories", "virtual_elapsed_s"]
