"""Your own handlers wait for timers only here, so their tests run in virtual time."""

from tests.virtual_time import pytest_asyncio_loop_factories, virtual_elapsed_s

__all__ = ["pytest_asyncio_loop_factories", "virtual_elapsed_s"]
