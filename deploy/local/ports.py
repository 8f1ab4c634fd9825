"""Free ports on loopback that stay ours: for processes that are started later, and started again."""

import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence

from deploy.errors import DeployError
from workers.testing.sdk import HOST

LAST_PORT = 65_535
NEAR = 10


@contextlib.contextmanager
def reserved_ports(names: Sequence[str], first: int | None = None) -> Iterator[dict[str, int]]:
    """
    Give each of `names` a port for the length of the block: `first` and the ones after it, or else any free ones.

    On Linux, each free port stays bound meanwhile, without listening: a process that asks for this very port can listen
    on it, and no process gets it that asks for any port.

    Raises `DeployError` if there are no ports after `first`.
    """
    if first is not None:
        if first + len(names) - 1 > LAST_PORT:
            raise DeployError(
                f"WORKER_HEALTH_PORT is {first}, must be at most {LAST_PORT + 1 - len(names)}: {len(names)} processes "
                "get a port each, this one and the next"
            )
        yield {name: first + number for number, name in enumerate(names)}
        return
    with contextlib.ExitStack() as bound:
        ports = dict[str, int]()
        for name in names:
            probe = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            probe.bind((HOST, 0))
            ports[name] = probe.getsockname()[1]
        if sys.platform != "linux":
            bound.close()  # Elsewhere, two sockets cannot be bound to the same port.
        yield ports


@contextlib.contextmanager
def port_near(first: int) -> Iterator[int]:
    """
    Give the first free port from `first` on for the length of the block; if ten are taken, any free one.

    On Linux, no other run gets the same port meanwhile, also before anything listens there.
    """
    for port in (*range(first, first + NEAR), 0):
        with contextlib.ExitStack() as ours:
            if port and not (_claim(port, ours) and _is_free(port)):
                continue
            bound = ours.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            bound.bind((HOST, port))
            number: int = bound.getsockname()[1]
            if sys.platform != "linux":
                bound.close()
            yield number
            return


def _claim(port: int, ours: contextlib.ExitStack) -> bool:
    """Return whether no other run has claimed `port`. The claim is a name in memory, and ends with its process."""
    if sys.platform != "linux":
        return True
    claim = ours.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        claim.bind(f"\0order-fulfillment-port-{port}")
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True
