import pytest
import structlog
from aiohttp import ClientConnectorError, ClientSession

from tests.workers.fulfillment.provider_server import provider_server, reply
from workers.request_log import is_on, log_request, traces


def test_above_debug_nothing_is_traced() -> None:
    assert (is_on(), traces("x")) == (False, None)


@pytest.mark.usefixtures("at_debug")
async def test_an_http_request_is_one_line_without_its_content() -> None:
    async with provider_server() as server, ClientSession(trace_configs=traces("webhook")) as session:
        server.answers(reply(503, "busy"))
        with structlog.testing.capture_logs() as logs:
            await session.post(f"{server.url}/secret", data=b"secret", headers={"Authorization": "secret"})
            with pytest.raises(ClientConnectorError):
                await session.post("http://127.0.0.1:1/secret")
    assert [line.pop("duration_ms") >= 0 for line in logs] == [True, True]
    line = {"event": "request.finished", "log_level": "debug", "operation": "webhook", "attempt": None}
    assert logs == [
        line | {"status": 503, "reason": None},
        line | {"status": None, "reason": "ClientConnectorError"},
    ]


@pytest.mark.usefixtures("at_debug")
def test_the_duration_of_a_request_is_in_milliseconds_to_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.request_log.time.perf_counter", lambda: 12.345_678)
    with structlog.testing.capture_logs() as logs:
        log_request("GetItem", 10.0, attempt=2)
    assert (logs[0]["duration_ms"], logs[0]["attempt"]) == (2345.7, 2)
