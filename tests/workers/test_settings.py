import re
from typing import Any

import pytest
from pydantic import SecretStr

from workers.errors import FatalError
from workers.kinds import OwnWorker, Worker
from workers.queue_address import QUEUE, QueueAddress
from workers.settings import Settings, ignored_variables

URL = "https://ship.example.com/orders"
SECRET_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/provider-AbCdEf"
RELEASES = "1 to 64 letters, digits, dots and underscores, not 13 digits in a row"
TABLES = {"ORDER_TABLE": "order_table", "ESCALATION_TABLE": "escalation_table"}
QUEUES = {"ORDER_FULFILLMENT_QUEUE": "order_fulfillment_queue", "ESCALATION_QUEUE": "escalation_queue"}
QUEUE_ADDRESSES = (
    "test-Name_1",
    "a" * 80,
    "arn:aws:sqs:eu-west-1:111122223333:Orders",
    "https://sqs.eu-west-1.amazonaws.com/111122223333/Orders",
)


def test_settings_without_variables_are_the_defaults() -> None:
    assert Settings.read({}).model_dump() == {
        "order_table": "OrderTable",
        "escalation_table": "EscalationTable",
        "order_fulfillment_queue": "OrderFulfillmentQueue",
        "escalation_queue": "EscalationQueue",
        "order_retention_days": None,
        "fulfillment_provider": "record",
        "fulfillment_url": None,
        "fulfillment_timeout_s": 10.0,
        "fulfillment_rate": None,
        "fulfillment_token": None,
        "fulfillment_token_secret": None,
        "escalation_rules": None,
        "concurrency": 150,
        "max_polls": 24,
        "wait_s": 20,
        "drain_s": 25.0,
        "max_handle_s": 900.0,
        "max_attempts": 5,
        "max_deliveries": 10,
        "health_port": None,
        "health_host": "127.0.0.1",
        "task_protection": False,
        "release": None,
        "log_level": "INFO",
        "log_format": None,
    }


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_variable_counts_as_absent(empty: str) -> None:
    environ = dict.fromkeys(
        [*TABLES, *QUEUES, "WORKER_CONCURRENCY", "WORKER_HEALTH_PORT", "LOG_LEVEL", "LOG_FORMAT"], empty
    )
    assert Settings.read(environ) == Settings.read({})


def test_other_variables_are_ignored() -> None:
    assert Settings.read({"PATH": "/bin", "AWS_REGION": "x", "WORKER_SPEED": "fast"}) == Settings.read({})


@pytest.mark.parametrize(
    ("variable", "value", "setting", "expected"),
    [
        *((variable, "test-Name_1.x", setting, "test-Name_1.x") for variable, setting in TABLES.items()),
        *((variable, "a" * 255, setting, "a" * 255) for variable, setting in TABLES.items()),
        *((variable, queue, setting, queue) for variable, setting in QUEUES.items() for queue in QUEUE_ADDRESSES),
        ("ORDER_RETENTION_DAYS", "90", "order_retention_days", 90),
        ("ORDER_RETENTION_DAYS", "3650", "order_retention_days", 3650),
        ("FULFILLMENT_PROVIDER", "record", "fulfillment_provider", "record"),
        ("FULFILLMENT_PROVIDER", "my.shop:Provider", "fulfillment_provider", "my.shop:Provider"),
        ("FULFILLMENT_TIMEOUT_S", "0.1", "fulfillment_timeout_s", 0.1),
        ("FULFILLMENT_TIMEOUT_S", "300", "fulfillment_timeout_s", 300.0),
        ("FULFILLMENT_RATE", "0.5", "fulfillment_rate", 0.5),
        ("FULFILLMENT_RATE", "0.001", "fulfillment_rate", 0.001),
        ("FULFILLMENT_RATE", "10000", "fulfillment_rate", 10_000.0),
        ("FULFILLMENT_TOKEN", "a" * 4096, "fulfillment_token", SecretStr("a" * 4096)),
        ("FULFILLMENT_TOKEN_SECRET", "prod/provider.token", "fulfillment_token_secret", "prod/provider.token"),
        *(("FULFILLMENT_TOKEN_SECRET", arn, "fulfillment_token_secret", arn) for arn in [SECRET_ARN]),
        ("WORKER_CONCURRENCY", "1", "concurrency", 1),
        ("WORKER_CONCURRENCY", " 1000 ", "concurrency", 1000),
        ("WORKER_MAX_POLLS", "1", "max_polls", 1),
        ("WORKER_MAX_POLLS", "100", "max_polls", 100),
        ("WORKER_WAIT_S", "0", "wait_s", 0),
        ("WORKER_WAIT_S", "20", "wait_s", 20),
        ("WORKER_DRAIN_S", "0", "drain_s", 0.0),
        ("WORKER_DRAIN_S", "2.5", "drain_s", 2.5),
        ("WORKER_DRAIN_S", "600", "drain_s", 600.0),
        ("WORKER_MAX_HANDLE_S", "1", "max_handle_s", 1.0),
        ("WORKER_MAX_HANDLE_S", "39600", "max_handle_s", 39600.0),
        ("WORKER_MAX_ATTEMPTS", "1", "max_attempts", 1),
        ("WORKER_MAX_ATTEMPTS", "1000", "max_attempts", 1000),
        ("WORKER_MAX_DELIVERIES", "1", "max_deliveries", 1),
        ("WORKER_MAX_DELIVERIES", "995", "max_deliveries", 995),
        ("WORKER_HEALTH_PORT", "1", "health_port", 1),
        ("WORKER_HEALTH_PORT", "65535", "health_port", 65535),
        ("WORKER_HEALTH_HOST", "0.0.0.0", "health_host", "0.0.0.0"),
        ("WORKER_HEALTH_HOST", "::1", "health_host", "::1"),
        ("WORKER_HEALTH_HOST", "localhost", "health_host", "localhost"),
        ("WORKER_TASK_PROTECTION", "true", "task_protection", True),
        ("WORKER_TASK_PROTECTION", "false", "task_protection", False),
        ("WORKER_RELEASE", "v1.2_rc", "release", "v1.2_rc"),
        ("WORKER_RELEASE", "1" * 12 + "a" * 52, "release", "1" * 12 + "a" * 52),
        ("LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("LOG_LEVEL", "ERROR", "log_level", "ERROR"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("LOG_FORMAT", "console", "log_format", "console"),
    ],
)
def test_values_at_the_edges_of_their_range_are_accepted(
    variable: str, value: str, setting: str, expected: Any
) -> None:
    assert getattr(Settings.read({variable: value}), setting) == expected


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        *(
            (
                variable,
                "https://sqs/1/Queue",
                f"{variable} is 'https://sqs/1/Queue', must be a name, not a URL or an ARN",
            )
            for variable in TABLES
        ),
        *(
            (variable, queue, f"{variable} is '{queue}', must be {QUEUE}")
            for variable in QUEUES
            for queue in ("a" * 81, "a.b", *(f"{address}.fifo" for address in QUEUE_ADDRESSES))
        ),
        *(
            (
                variable,
                "https://me:s3cret@sqs.example/1/Orders",
                f"{variable} is not shown (it has a user or password), must be {QUEUE}",
            )
            for variable in QUEUES
        ),
        ("ORDER_RETENTION_DAYS", "89", "ORDER_RETENTION_DAYS is '89', must be 90 to 3650 days"),
        ("ORDER_RETENTION_DAYS", "3651", "ORDER_RETENTION_DAYS is '3651', must be 90 to 3650 days"),
        ("ORDER_RETENTION_DAYS", "never", "ORDER_RETENTION_DAYS is 'never', must be 90 to 3650 days"),
        ("ORDER_TABLE", "a" * 256, f"ORDER_TABLE is '{'a' * 256}', must be a name, not a URL or an ARN"),
        (
            "FULFILLMENT_PROVIDER",
            "my.shop",
            "FULFILLMENT_PROVIDER is 'my.shop', must be record, http, or a class of your own as package.module:Class",
        ),
        ("FULFILLMENT_RATE", "0", "FULFILLMENT_RATE is '0', must be 0.001 to 10000 orders a second"),
        ("FULFILLMENT_RATE", "-1", "FULFILLMENT_RATE is '-1', must be 0.001 to 10000 orders a second"),
        ("FULFILLMENT_RATE", "nan", "FULFILLMENT_RATE is 'nan', must be 0.001 to 10000 orders a second"),
        ("FULFILLMENT_RATE", "inf", "FULFILLMENT_RATE is 'inf', must be 0.001 to 10000 orders a second"),
        ("FULFILLMENT_RATE", "10/s", "FULFILLMENT_RATE is '10/s', must be 0.001 to 10000 orders a second"),
        ("FULFILLMENT_TIMEOUT_S", "0.09", "FULFILLMENT_TIMEOUT_S is '0.09', must be 0.1 to 300 seconds"),
        ("FULFILLMENT_TIMEOUT_S", "301", "FULFILLMENT_TIMEOUT_S is '301', must be 0.1 to 300 seconds"),
        *(
            ("FULFILLMENT_TOKEN", token, "FULFILLMENT_TOKEN is not shown, must be 1 to 4096 visible ASCII characters")
            for token in ("s3cret word", "s3cret\r\nHost: x", "s3cr\u00e9t", "s" * 4097)
        ),
        (
            "FULFILLMENT_TOKEN_SECRET",
            "my secret",
            "FULFILLMENT_TOKEN_SECRET is 'my secret', must be the name or the ARN of a secret in AWS Secrets Manager",
        ),
        ("WORKER_CONCURRENCY", "0", "WORKER_CONCURRENCY is '0', must be 1 to 1000 messages at a time"),
        ("WORKER_CONCURRENCY", "1001", "WORKER_CONCURRENCY is '1001', must be 1 to 1000 messages at a time"),
        ("WORKER_CONCURRENCY", "many", "WORKER_CONCURRENCY is 'many', must be 1 to 1000 messages at a time"),
        ("WORKER_MAX_POLLS", "0", "WORKER_MAX_POLLS is '0', must be 1 to 100 receives at a time"),
        ("WORKER_MAX_POLLS", "101", "WORKER_MAX_POLLS is '101', must be 1 to 100 receives at a time"),
        ("WORKER_WAIT_S", "-1", "WORKER_WAIT_S is '-1', must be 0 to 20 seconds"),
        ("WORKER_WAIT_S", "21", "WORKER_WAIT_S is '21', must be 0 to 20 seconds"),
        ("WORKER_WAIT_S", "0.5", "WORKER_WAIT_S is '0.5', must be 0 to 20 seconds"),
        ("WORKER_DRAIN_S", "-0.1", "WORKER_DRAIN_S is '-0.1', must be 0 to 600 seconds"),
        ("WORKER_DRAIN_S", "600.1", "WORKER_DRAIN_S is '600.1', must be 0 to 600 seconds"),
        ("WORKER_DRAIN_S", "nan", "WORKER_DRAIN_S is 'nan', must be 0 to 600 seconds"),
        ("WORKER_DRAIN_S", "inf", "WORKER_DRAIN_S is 'inf', must be 0 to 600 seconds"),
        ("WORKER_MAX_HANDLE_S", "0.9", "WORKER_MAX_HANDLE_S is '0.9', must be 1 to 39600 seconds (11 hours)"),
        ("WORKER_MAX_HANDLE_S", "39601", "WORKER_MAX_HANDLE_S is '39601', must be 1 to 39600 seconds (11 hours)"),
        ("WORKER_MAX_ATTEMPTS", "0", "WORKER_MAX_ATTEMPTS is '0', must be 1 to 1000 failed attempts"),
        ("WORKER_MAX_ATTEMPTS", "1001", "WORKER_MAX_ATTEMPTS is '1001', must be 1 to 1000 failed attempts"),
        ("WORKER_MAX_DELIVERIES", "0", "WORKER_MAX_DELIVERIES is '0', must be 1 to 995 deliveries"),
        ("WORKER_MAX_DELIVERIES", "996", "WORKER_MAX_DELIVERIES is '996', must be 1 to 995 deliveries"),
        ("WORKER_HEALTH_PORT", "0", "WORKER_HEALTH_PORT is '0', must be 1 to 65535"),
        ("WORKER_HEALTH_PORT", "65536", "WORKER_HEALTH_PORT is '65536', must be 1 to 65535"),
        (
            "WORKER_HEALTH_HOST",
            "http://127.0.0.1",
            "WORKER_HEALTH_HOST is 'http://127.0.0.1', must be an IP address or a host name, such as 127.0.0.1",
        ),
        ("WORKER_TASK_PROTECTION", "maybe", "WORKER_TASK_PROTECTION is 'maybe', must be true or false"),
        *(
            (
                "WORKER_RELEASE",
                value,
                f"WORKER_RELEASE is {shown!r}, must be {RELEASES}",
            )
            for value, shown in [("a" * 65, "a" * 65), ("v1-2", "v1-2"), ("a b", "a b"), ("a1234567890123", "a****")]
        ),
        ("LOG_LEVEL", "info", "LOG_LEVEL is 'info', must be DEBUG, INFO, WARNING or ERROR"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT is 'xml', must be json or console"),
        ("LOG_FORMAT", "js\non", r"LOG_FORMAT is 'js\non', must be json or console"),
    ],
)
def test_a_wrong_value_is_reported_with_variable_value_and_range(variable: str, value: str, line: str) -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read({variable: value})
    assert str(raised.value) == line


def test_every_wrong_value_is_reported() -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read({"WORKER_WAIT_S": "21", "ORDER_TABLE": "a/b", "WORKER_CONCURRENCY": "5", "LOG_LEVEL": "LOUD"})
    assert str(raised.value) == (
        "ORDER_TABLE is 'a/b', must be a name, not a URL or an ARN; "
        "WORKER_WAIT_S is '21', must be 0 to 20 seconds; "
        "LOG_LEVEL is 'LOUD', must be DEBUG, INFO, WARNING or ERROR"
    )


@pytest.mark.parametrize("value", ["4929123412345678/x", "4929 1234 1234 5678", "4929-1234-1234-5678!"])
def test_a_card_number_is_masked_in_errors(value: str) -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read({"ORDER_TABLE": value})
    assert str(raised.value).startswith("ORDER_TABLE is '****")
    assert "1234" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://ship.example.com",
        "https://ship.example.com:8443/v1/orders?version=2",
        "HTTPS://ship.example.com/",
        "http://localhost:8080/",
        "http://provider.localhost/",
        "http://127.0.0.1:8080/orders",
        "http://[::1]:8080/",
    ],
)
def test_a_provider_url_is_https_or_on_localhost(url: str) -> None:
    assert Settings.read({"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": url}).fulfillment_url == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ship.example.com/x?key=s3cret", "http://ship.example.com/x?..."),
        ("http://127.0.0.1.example.com/", "http://127.0.0.1.example.com/"),
        ("http://10.0.0.7/", "http://10.0.0.7/"),
        ("https://ship.example.com/#s3cret", "https://ship.example.com/?..."),
        ("https://ship.example.com/a b", "https://ship.example.com/a b"),
        ("https://ship.example.com:0/", "https://ship.example.com:0/"),
        ("https://ship.example.com:65536/", "https://ship.example.com:65536/"),
        ("https://", "https://"),
        ("https:///orders", "https:///orders"),
        ("ftp://ship.example.com", "ftp://ship.example.com"),
        ("ship.example.com", "ship.example.com"),
        ("https://[::1", "https://[::1"),
        ("https://ship.example.com/" + "x" * 2048, "https://ship.example.com/" + "x" * 2048),
    ],
)
def test_a_wrong_url_is_shown_without_its_query(url: str, shown: str) -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read({"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": url})
    assert str(raised.value) == (
        f"FULFILLMENT_URL is {shown!r}, "
        "must be an https URL (http for localhost only) without user, password and fragment"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@ship.example.com/x",
        "https://me@ship.example.com",
        "http://localhost@ship.example.com",
        "me:s3cret@ship.example.com",
        "https://me:s3/c?r#et@ship.example.com",
    ],
)
def test_a_url_with_a_user_or_password_is_not_shown(url: str) -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read({"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": url})
    assert str(raised.value) == (
        "FULFILLMENT_URL is not shown (it has a user or password), "
        "must be an https URL (http for localhost only) without user, password and fragment"
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"FULFILLMENT_PROVIDER": "http"},
            "FULFILLMENT_URL is not set, must be the provider's URL if FULFILLMENT_PROVIDER is http",
        ),
        (
            {"FULFILLMENT_URL": URL},
            "FULFILLMENT_URL is set, must be absent if FULFILLMENT_PROVIDER is record, which sends nothing",
        ),
        (
            {"FULFILLMENT_TOKEN": "s3cret", "FULFILLMENT_TOKEN_SECRET": "name"},
            "FULFILLMENT_TOKEN and FULFILLMENT_TOKEN_SECRET are both set, must be at most one of them",
        ),
        (
            {
                "FULFILLMENT_PROVIDER": "http",
                "FULFILLMENT_URL": URL,
                "FULFILLMENT_TIMEOUT_S": "11",
                "WORKER_MAX_HANDLE_S": "10",
            },
            "FULFILLMENT_TIMEOUT_S is 11, must be at most WORKER_MAX_HANDLE_S, 10",
        ),
    ],
)
def test_contradicting_settings_are_reported(variables: dict[str, str], line: str) -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read(variables)
    assert str(raised.value) == line


def test_a_custom_provider_may_use_the_http_variables() -> None:
    assert Settings.read({"FULFILLMENT_PROVIDER": "my.shop:Provider", "FULFILLMENT_URL": URL}).fulfillment_url == URL


def test_the_token_and_the_query_of_the_url_are_never_shown() -> None:
    settings = Settings.read(
        {
            "FULFILLMENT_PROVIDER": "http",
            "FULFILLMENT_URL": f"{URL}?key=s3cret",
            "FULFILLMENT_TOKEN": "s3cret",
        }
    )
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert settings.model_dump()["fulfillment_url"] == f"{URL}?..."


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.read({}).concurrency = 5


def test_each_worker_has_its_queue() -> None:
    settings = Settings.read({"ORDER_FULFILLMENT_QUEUE": "orders", "ESCALATION_QUEUE": "escalations"})
    assert [settings.queue_of(worker).name for worker in Worker] == ["orders", "escalations"]


def test_all_contradictions_are_reported() -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read({"FULFILLMENT_URL": URL, "FULFILLMENT_TOKEN": "x", "FULFILLMENT_TOKEN_SECRET": "y"})
    assert str(raised.value).count("; ") == 1


def test_a_request_may_take_as_long_as_a_message() -> None:
    http = {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": URL}
    assert Settings.read(http | {"FULFILLMENT_TIMEOUT_S": "10", "WORKER_MAX_HANDLE_S": "10"}).max_handle_s == 10
    assert Settings.read({"FULFILLMENT_TIMEOUT_S": "11", "WORKER_MAX_HANDLE_S": "10"}).fulfillment_timeout_s == 11


def test_the_query_of_a_url_is_cut_to_its_end() -> None:
    settings = Settings.read({"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": f"{URL}?a=1?b=2"})
    assert settings.model_dump()["fulfillment_url"] == f"{URL}?..."


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
        ("WORKER_WAIT", "WORKER_WAIT_S"),
        ("WORKER_HEALTHPORT", "WORKER_HEALTH_PORT"),
        ("WORKER_MAX_POLL", "WORKER_MAX_POLLS"),
        ("worker_drain_s", "WORKER_DRAIN_S"),
        ("WORKER_SPEED", None),
        ("WORKER_", None),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("FULFILMENT_URL", "FULFILLMENT_URL"),
        ("ESCALATION_RULE", "ESCALATION_RULES"),
        ("WORKERS_WAIT_S", "WORKER_WAIT_S"),
    ],
)
def test_a_variable_that_is_named_like_a_setting_is_reported_with_that_setting(
    variable: str, meant: str | None
) -> None:
    assert ignored_variables({variable: "1", "PATH": "/bin"}) == {variable: meant}


def test_settings_other_programs_variables_and_empty_ones_are_not_reported() -> None:
    settings = [field.alias for field in Settings.model_fields.values() if field.alias]
    others = ["PATH", "HOME", "AWS_REGION", "HTTPS_PROXY", "ECS_AGENT_URI", "LOGNAME", "RELEASE", "WORKER_HEALTH_URLS"]
    others += ["ORDER_FULFILLMENT_QUEUE_URL", "ORDER_FULFILLMENT_DLQ_URL", "ESCALATION_QUEUE_URL", "ESCALATION_DLQ_URL"]
    others += ["ORDER_INTAKE_BUCKET"]
    assert ignored_variables(dict.fromkeys([*settings, *others], "1") | {"WORKER_SPEED": " "}) == {}


def test_a_worker_of_your_own_reads_only_what_concerns_every_worker() -> None:
    others = {"ORDER_TABLE": "not a name", "FULFILLMENT_PROVIDER": "http", "ESCALATION_QUEUE": "Q.fifo"}
    settings = Settings.read_shared({"WORKER_WAIT_S": "7", "LOG_LEVEL": "DEBUG", **others})
    assert (settings.wait_s, settings.log_level) == (7, "DEBUG")
    shown = settings.shown(OwnWorker("shop", QueueAddress.parse("Returns")))
    assert {"wait_s", "log_level", "max_attempts"} <= shown.keys()
    assert not {"order_table", "fulfillment_provider", "escalation_queue"} & shown.keys()
    assert {"order_table", "wait_s"} <= settings.shown(Worker.FULFILLMENT).keys()


def test_a_worker_of_your_own_cannot_have_more_attempts_than_deliveries() -> None:
    with pytest.raises(FatalError) as raised:
        Settings.read_shared({"WORKER_MAX_DELIVERIES": "3"})
    assert str(raised.value) == (
        "WORKER_MAX_ATTEMPTS is 5, must be at most WORKER_MAX_DELIVERIES, 3: each attempt is a delivery"
    )


def test_each_range_is_the_one_that_is_described() -> None:
    ranges = {}
    for field in Settings.model_fields.values():
        bounds = [getattr(rule, side) for side in ("ge", "le") for rule in field.metadata if hasattr(rule, side)]
        if bounds:
            ranges[field.alias] = bounds
            described = re.match(r"([0-9.]+) to ([0-9.]+)\b", field.description or "")
            assert described is not None, field
            assert [float(described[1]), float(described[2])] == bounds, field
    assert ranges["WORKER_MAX_HANDLE_S"] == [1, 39_600]
    assert len(ranges) == 11


def test_the_settings_of_an_empty_environment_are_the_documented_defaults() -> None:
    settings = Settings.read({})
    numbers = (int, float)
    assert {
        field.alias: getattr(settings, name)
        for name, field in Settings.model_fields.items()
        if type(getattr(settings, name)) in numbers
    } == {
        "FULFILLMENT_TIMEOUT_S": 10,
        "WORKER_CONCURRENCY": 150,
        "WORKER_MAX_POLLS": 24,
        "WORKER_WAIT_S": 20,
        "WORKER_DRAIN_S": 25,
        "WORKER_MAX_HANDLE_S": 900,
        "WORKER_MAX_ATTEMPTS": 5,
        "WORKER_MAX_DELIVERIES": 10,
    }
