import socket
import sys
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tests.support import free_port
from workers.errors import FatalError
from workers.monitoring import monitoring


class Checks:
    """Checks whose results a test sets."""

    def __init__(self) -> None:
        self.unhealthy: str | None = None
        self.unready: str | None = None

    def health(self) -> str | None:
        return self.unhealthy

    def readiness(self) -> str | None:
        return self.unready


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_health_readiness_and_metrics_are_served() -> None:
    port, checks, registry = free_port(), Checks(), CollectorRegistry()
    Counter("workers_messages_received", "Received.", registry=registry).inc(3)
    async with monitoring("127.0.0.1", port, health=checks.health, readiness=checks.readiness, registry=registry):
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/readyz") == (200, "ok\n")
        checks.unhealthy, checks.unready = "a handler outlives its cap", "polls fail"
        assert await get(port, "/healthz") == (503, "a handler outlives its cap\n")
        assert await get(port, "/readyz") == (503, "polls fail\n")
        status, metrics = await get(port, "/metrics")
        assert (status, "workers_messages_received_total 3.0" in metrics.splitlines()) == (200, True)
        assert (await get(port, "/nothing"))[0] == 404
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(port, "/healthz")


async def test_health_says_what_is_worth_knowing_although_all_is_well() -> None:
    port, checks, notes = free_port(), Checks(), [None, "the output is full"]
    served = monitoring(
        "127.0.0.1",
        port,
        health=checks.health,
        readiness=checks.readiness,
        registry=CollectorRegistry(),
        note=lambda: notes.pop(0),
    )
    async with served:
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/healthz") == (200, "ok: the output is full\n")
        assert await get(port, "/readyz") == (200, "ok\n")


async def test_without_a_port_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Checks()
    monkeypatch.setattr(web, "AppRunner", lambda *_, **__: pytest.fail("served"))
    async with monitoring(
        "127.0.0.1", None, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
    ) as none:
        assert none is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on loopback")
async def test_only_the_given_address_is_served() -> None:
    port, checks = free_port(), Checks()
    async with monitoring(
        "127.0.0.2", port, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
    ):
        with socket.create_server(("127.0.0.1", port)):
            pass
    async with monitoring(
        "0.0.0.0", port, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
    ):
        assert (await get(port, "/healthz"))[0] == 200


async def test_an_address_of_another_machine_is_reported() -> None:
    host, port, checks = "192.0.2.1", free_port(), Checks()
    with pytest.raises(FatalError, match=f"WORKER_HEALTH_HOST is {host}, which cannot be used: error while"):
        async with monitoring(
            host, port, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
        ):
            pass


async def test_a_port_in_use_is_reported() -> None:
    checks = Checks()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        problem = (
            f"WORKER_HEALTH_PORT is {port} and WORKER_HEALTH_HOST is 127.0.0.1, which cannot be used: another process"
        )
        with pytest.raises(FatalError, match=problem):
            async with monitoring(
                "127.0.0.1", port, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
            ):
                pass


async def test_metrics_are_served_as_prometheus_reads_them() -> None:
    port, checks = free_port(), Checks()
    async with (
        monitoring("127.0.0.1", port, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.headers["Content-Type"] == CONTENT_TYPE_LATEST


async def test_an_error_during_the_block_closes_the_endpoint_too() -> None:
    port, checks = free_port(), Checks()
    with pytest.raises(ZeroDivisionError):
        async with monitoring(
            "127.0.0.1", port, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
        ):
            raise ZeroDivisionError
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(port, "/healthz")


async def test_the_endpoint_handles_no_signals_logs_no_requests_and_closes_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, object]] = []
    checks, app_runner = Checks(), web.AppRunner

    def recorded(application: web.Application, **options: Any) -> web.AppRunner:
        made.append(options)
        return app_runner(application, **options)

    monkeypatch.setattr(web, "AppRunner", recorded)
    async with monitoring(
        "127.0.0.1", 0, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
    ):
        assert made == [{"access_log": None, "handle_signals": False, "shutdown_timeout": 1.0}]


async def test_a_bug_while_the_endpoint_opens_is_not_taken_for_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_site: web.TCPSite) -> None:
        raise ZeroDivisionError

    checks = Checks()
    monkeypatch.setattr(web.TCPSite, "start", fail)
    with pytest.raises(ZeroDivisionError):
        async with monitoring(
            "127.0.0.1", 0, health=checks.health, readiness=checks.readiness, registry=CollectorRegistry()
        ):
            pass
