"""What a worker's metrics say about the services it calls, and why its stages fail."""

from prometheus_client.exposition import generate_latest

from workers.domain.cards import mask
from workers.errors import OutageError
from workers.metrics import Metrics
from workers.operations.status_endpoints import Endpoint, sample, service_statuses, worker_status
from workers.service_calls import MAX_REASON_CHARS, ServiceCalls, channel_service


async def test_a_service_is_down_from_its_first_failure_until_it_works() -> None:
    times = iter([1.0, 2.0, 3.0, 4.0])
    calls = ServiceCalls("provider", lambda: next(times))
    assert (calls.up, calls.down_since_s) == (None, None)
    calls.failed(OutageError("down"), down=True)
    calls.failed(OutageError("still down"), down=True)
    assert (calls.up, calls.down_since_s, calls.last_error_s, calls.last_error) == (False, 1.0, 2.0, "still down")
    calls.worked()
    assert (calls.up, calls.down_since_s, calls.last_success_s, calls.last_error) == (True, None, 3.0, "still down")
    calls.failed(OutageError("no"), down=False)
    assert (calls.up, calls.down_since_s, calls.last_error_s) == (True, None, 4.0)


def test_a_recorded_error_quotes_no_card_number_and_no_foreign_text() -> None:
    calls = ServiceCalls("provider", mask=mask)
    calls.failed(OutageError("card 4929 1234 1234 5678\nis " + "x" * 1000), down=True)
    assert "1234 1234" not in calls.last_error
    assert len(calls.last_error) == MAX_REASON_CHARS
    calls.failed(ValueError("secret"), down=True)
    assert calls.last_error == "value error"


async def test_what_a_worker_exposes_is_what_the_status_reads() -> None:
    metrics = Metrics(mask=mask)
    metrics.describe("fulfillment", "OrderFulfillmentQueue", "r1")
    metrics.polled()
    metrics.settled.inc("message.acknowledged", "fulfilled")
    metrics.settled.inc("message.released", "transient")
    metrics.settled.inc("message.released", "stopping")
    metrics.settled.inc("message.dead_lettered", "undecodable")
    metrics.outages.stage("poll")
    metrics.outages.stage("downstream").failed("PutItem: 4929123412345678 Throttled")
    metrics.services.service("provider").failed(OutageError('it said "no"\\'), down=True)
    metrics.services.service("channel pager")
    text = generate_latest(metrics.registry).decode()

    async def fetch(url: str) -> tuple[int, str]:
        return 200, text if url.endswith("/metrics") else "ok\n"

    found = await sample(Endpoint("fulfillment", "http://worker"), fetch, lambda: 5e9)
    status = worker_status(found, None)
    assert (status.state, status.failures, status.release) == ("running", 2, "r1")
    assert (status.held, status.held_by, status.held_reason) == (
        True,
        "downstream",
        "PutItem: **** Throttled",
    )
    assert None not in (status.last_poll_at, status.failures_since_at, status.held_since_at)
    provider, pager = service_statuses([found])
    assert (provider.service, provider.state, provider.last_error) == ("provider", "down", 'it said "no"\\')
    assert (pager.service, pager.state, pager.last_error) == ("channel pager", "not called", None)


async def test_a_worker_without_failures_has_no_outage_and_no_poll_yet() -> None:
    metrics = Metrics()
    metrics.outages.stage("poll")
    text = generate_latest(metrics.registry).decode()

    async def fetch(url: str) -> tuple[int, str]:
        return 200, text if url.endswith("/metrics") else "ok\n"

    status = worker_status(await sample(Endpoint("fulfillment", "http://worker"), fetch, lambda: 5e9), None)
    assert (status.held, status.held_reason, status.last_poll_at, status.release) == (False, None, None, None)
    assert status.failures == 0


def test_a_channel_is_a_service_of_its_name() -> None:
    assert channel_service("chat") == "channel chat"
