"""Our signature equals the SDK's for any request."""

from datetime import UTC, datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import matching
from workers.aws.sdk.signing import RequestSigner

VISIBLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
NAMES = st.sampled_from(
    ["X-Amz-Target", "Content-Type", "content-length", "User-Agent", "Expect", "Transfer-Encoding", "X-Amzn-Trace-Id"]
) | matching(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
HEADERS = st.dictionaries(NAMES, st.text(VISIBLE), max_size=6).filter(
    lambda headers: (
        len({name.lower() for name in headers}) == len(headers)
        and not {"host", "authorization", "x-amz-date", "x-amz-security-token"} & {name.lower() for name in headers}
    )
)
URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["https", "http"]),
    st.sampled_from(["sqs.eu-central-1.amazonaws.com", "127.0.0.1", "[::1]", "localhost", "SQS.example"]),
    st.just("") | st.sampled_from([80, 443, 4566]).map(":{}".format) | st.integers(1, 65535).map(":{}".format),
    st.just("/") | matching(r"(/[A-Za-z0-9._~%@:+-]{0,8}){0,3}", fullmatch=True),
)
KEYS = st.text(VISIBLE, min_size=1, max_size=40)


CREDENTIALS = st.builds(Credentials, st.just("AKID"), KEYS, st.none() | KEYS)


@given(HEADERS, URLS, st.lists(st.binary(), min_size=1, max_size=3), CREDENTIALS, st.sampled_from(["sqs", "dynamodb"]))
def test_our_signature_equals_the_sdks(
    headers: dict[str, str], url: str, bodies: list[bytes], credentials: Credentials, service: str
) -> None:
    signer = RequestSigner(url, headers, region="eu-central-1", service=service)
    for body in bodies:
        theirs = AWSRequest("POST", url, headers=headers, data=body)
        SigV4Auth(credentials, service, "eu-central-1").add_auth(theirs)
        at = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        ours = signer.signed(body, credentials, at.timestamp())
        assert sorted(ours.items()) == sorted(theirs.headers.items())
