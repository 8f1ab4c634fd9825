from typing import Any

import pytest

from workers.aws.sdk.clients import calling_config, channel_config, receiving_config
from workers.aws.sdk.tls import VerifyingSession


@pytest.mark.parametrize("config", [calling_config(), channel_config(1.0), receiving_config(20)])
def test_every_client_checks_host_names(config: Any) -> None:
    assert config.http_session_cls is VerifyingSession
