import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, matching
from workers.queue_address import QueueAddress, check_queue

NAMES = matching(r"[A-Za-z0-9_-]{1,80}", fullmatch=True)
ACCOUNTS = matching(r"[0-9]{12}", fullmatch=True)
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1", "ap-southeast-3", "cn-north-1"])
HOSTS = st.sampled_from(["127.0.0.1:4566", "localhost", "[::1]:80", "sqs.example", "ministack:4566"])
AWS_HOSTS = st.sampled_from(
    [
        "sqs.{}.amazonaws.com",
        "sqs.{}.amazonaws.com.cn",
        "sqs-fips.{}.amazonaws.com",
        "sqs.{}.api.aws",
        "{}.queue.amazonaws.com",
        "vpce-0a1b-c2d3.sqs.{}.vpce.amazonaws.com",
        "vpce-0a1b-c2d3-us-east-1a.sqs.{}.vpce.amazonaws.com",
        "sqs.{}.localhost.localstack.cloud:4566",
    ]
)


@given(NAMES)
def test_a_name_is_that_of_a_queue_of_the_caller(name: str) -> None:
    address = QueueAddress.parse(name)
    assert address == QueueAddress(name, name)
    assert address.lookup() == {"QueueName": name}


@given(NAMES, ACCOUNTS, REGIONS, st.sampled_from(["aws", "aws-cn", "aws-us-gov"]))
def test_an_arn_names_account_and_region(name: str, account: str, region: str, partition: str) -> None:
    arn = f"arn:{partition}:sqs:{region}:{account}:{name}"
    address = QueueAddress.parse(arn)
    assert address == QueueAddress(arn, name, account, region)
    assert address.lookup() == {"QueueName": name, "QueueOwnerAWSAccountId": account}


@given(NAMES, ACCOUNTS, REGIONS, AWS_HOSTS)
def test_a_url_of_aws_names_account_and_region(name: str, account: str, region: str, host: str) -> None:
    url = f"https://{host.format(region)}/{account}/{name}"
    assert QueueAddress.parse(url) == QueueAddress(url, name, account, region)


def test_the_oldest_url_of_aws_is_in_its_first_region() -> None:
    assert QueueAddress.parse("https://queue.amazonaws.com/111122223333/Q").region == "us-east-1"


@given(NAMES, st.none() | ACCOUNTS, HOSTS, st.sampled_from(["", "/queue", "/a/b"]), st.sampled_from(["http", "https"]))
def test_a_url_elsewhere_names_no_region(name: str, account: str | None, host: str, path: str, scheme: str) -> None:
    url = f"{scheme}://{host}{path}{'' if account is None else f'/{account}'}/{name}"
    assert QueueAddress.parse(url) == QueueAddress(url, name, account, None)


@given(
    st.one_of(
        NAMES,
        st.builds("arn:aws:sqs:{}:{}:{}".format, REGIONS, ACCOUNTS, NAMES),
        st.builds("https://sqs.{}.amazonaws.com/{}/{}".format, REGIONS, ACCOUNTS, NAMES),
        st.builds("http://{}/{}".format, HOSTS, NAMES),
    )
)
def test_a_fifo_queue_is_refused_however_it_is_named(standard: str) -> None:
    assert check_queue(standard) == standard
    with pytest.raises(ValueError, match="must be the name, the URL or the ARN of a standard SQS queue, not of a FIFO"):
        check_queue(f"{standard}.fifo")


@pytest.mark.parametrize("text", ["a b", "", "a" * 81, "Fifo queue", "https://sqs.eu-west-1.amazonaws.com/"])
def test_what_is_no_address_is_refused_with_what_a_name_may_be(text: str) -> None:
    with pytest.raises(
        ValueError, match="standard SQS queue, whose name has 1 to 80 letters, digits, dashes and under"
    ):
        check_queue(text)


@given(
    any_text
    | st.sampled_from(
        [
            "",
            " Q",
            "Q\n",
            "x" * 81,
            "a.b",
            "https://me:secret@sqs.example/1/Q",
            "https://sqs.example/Q?x=1",
            "https://sqs.example/Q#x",
            "https://sqs.example/",
            "ftp://sqs.example/Q",
            "arn:aws:sqs:us-east-1:1:Q",
            "arn:aws:sns:us-east-1:111122223333:Q",
            "arn:aws:sqs:us-east-1:111122223333:a:b",
            "\u0661",
        ]
    )
)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = QueueAddress.parse(text)
    except ValueError:
        assert not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text)
    else:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", address.name)
        assert text.endswith(address.name)
        assert "@" not in text


@given(NAMES, NAMES, ACCOUNTS, REGIONS)
def test_a_dead_letter_queue_is_in_the_account_of_its_queue(name: str, dead: str, account: str, region: str) -> None:
    arn = f"arn:aws:sqs:{region}:{account}:{dead}"
    theirs = QueueAddress.parse(f"arn:aws:sqs:{region}:{account}:{name}")
    assert theirs.dead_letter_queue(arn) == QueueAddress.parse(arn)
    assert QueueAddress.parse(name).dead_letter_queue(arn).lookup() == {"QueueName": dead}
    with pytest.raises(ValueError, match="standard SQS queue"):
        theirs.dead_letter_queue(f"{arn}.fifo")
