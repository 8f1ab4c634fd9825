from typing import Any

import pytest

from workers.aws.sdk.clients import calling_config, channel_config, receiving_config
from workers.aws.sdk.tls import VerifyingSession


@pytest.mark.parametrize("config", [calling_config(100), channel_config(1.0), receiving_config(20, 24)])
def test_every_client_checks_host_names(config: Any) -> None:
    assert config.http_session_cls is VerifyingSession


def test_every_receive_and_every_handler_may_have_a_connection() -> None:
    receiving: Any = receiving_config(20, max_polls=24)
    calling: Any = calling_config(100)
    assert receiving.max_pool_connections == 24
    assert calling.max_pool_connections > 100


def test_a_channels_client_leaves_retries_to_the_router() -> None:
    config: Any = channel_config(2.0)
    assert config.retries == {"total_max_attempts": 1}
    assert config.read_timeout == 2.0


def test_each_client_has_the_timeouts_and_attempts_of_its_calls() -> None:
    configs: list[Any] = [receiving_config(20, 24), calling_config(100), calling_config(100, attempts=1)]
    assert [(config.connect_timeout, config.read_timeout, config.retries) for config in configs] == [
        (3, 30, {"mode": "standard", "total_max_attempts": 1}),
        (3, 10, {"mode": "standard", "total_max_attempts": 3}),
        (3, 10, {"mode": "standard", "total_max_attempts": 1}),
    ]
    for config in (*configs, channel_config(1.0)):
        assert (config.tcp_keepalive, config.parameter_validation) == (True, False)
        assert config.user_agent == "order-fulfillment-workers"
