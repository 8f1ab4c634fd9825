"""Reads what the console's pages of the workflow and of executions show: `python -m tests.deploy.console_reads`."""

import asyncio

from workers.console.recent import RecentReader
from workers.console.watched import ExecutionReader
from workers.operations.stack import Stack
from workers.operations.workflow import Kind


async def main() -> None:
    stack = Stack()
    for kind in Kind:
        workflow = await RecentReader(stack, kind).read()
        newest = ExecutionReader(stack, workflow.recent.runs[0].name, kind)
        for _ in range(2):  # The second reading looks for the order.
            await newest.read()


if __name__ == "__main__":
    asyncio.run(main())
