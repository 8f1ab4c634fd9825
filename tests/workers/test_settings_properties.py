"""Any environment gives settings, or one clear line that shows no secret."""

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, digit_text, text
from workers.domain.cards import looks_like_card
from workers.errors import FatalError
from workers.settings import Settings

VARIABLES = [field.alias for field in Settings.model_fields.values() if field.alias]
SECRET = "SECRET-4711"
VALUES = (
    any_text
    | digit_text
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(
        ["0", "1", "20", "21", "1e3", "1_0", "NaN", "inf", "true", "http", "record", "\u0661", "a:b", " "]
    )
)
NOT_A_TOKEN = st.builds(
    "{}{}{}".format, st.sampled_from([SECRET, "x"]), st.sampled_from(" \n\u00e9\ud800"), st.just(SECRET)
)
URLS = st.sampled_from([f"https://a.example/?{SECRET}", f"a?\n{SECRET}", f"http://x/?a={SECRET}"]) | st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["ftp", "http", "https", "", "1"]),
    st.sampled_from([f"user:{SECRET}@", f"{SECRET}@", ""]),
    st.sampled_from(["localhost", "a.example", "[", "", "a:x", "a:70000"]),
    st.sampled_from(["/", f"/?key={SECRET}", f"#{SECRET}", f"/ ?{SECRET}"]) | text,
)


def read(environ: dict[str, str]) -> Settings | str:
    try:
        return Settings.read(environ)
    except FatalError as error:
        return str(error)


@given(st.dictionaries(st.sampled_from(VARIABLES), VALUES))
def test_any_environment_gives_settings_or_one_line(environ: dict[str, str]) -> None:
    found = read(environ)
    if isinstance(found, Settings):
        return
    assert "\n" not in found
    assert found.encode()
    assert not looks_like_card(found)
    assert any(found.startswith(f"{variable} is ") for variable in VARIABLES) or " are both set" in found
    assert "must be" in found


@given(st.sampled_from(VARIABLES), VALUES)
def test_a_wrong_value_is_reported_with_its_variable_only(variable: str, value: str) -> None:
    found = read({variable: value})
    if isinstance(found, str):
        assert found.startswith(f"{variable} is ") or (variable, value.strip()) == ("FULFILLMENT_PROVIDER", "http")
        assert not [other for other in VARIABLES if other != variable and f"{other} is '" in found]
    if not value.strip():
        assert found == Settings.read({})


@given(NOT_A_TOKEN, URLS, st.lists(st.tuples(st.sampled_from(VARIABLES), VALUES), max_size=2))
def test_no_secret_is_shown(token: str, url: str, others: list[tuple[str, str]]) -> None:
    environ = dict(others) | {"FULFILLMENT_TOKEN": token, "FULFILLMENT_URL": url, "FULFILLMENT_PROVIDER": "http"}
    found = read(environ)
    assert isinstance(found, str)
    assert "FULFILLMENT_TOKEN is not shown" in found
    assert SECRET not in found
    accepted = read(environ | {"FULFILLMENT_TOKEN": SECRET})
    assert SECRET not in repr(accepted)
    if isinstance(accepted, Settings):
        assert SECRET not in accepted.model_dump_json()


RANGES = {
    "WORKER_CONCURRENCY": (1, 1000),
    "WORKER_MAX_POLLS": (1, 100),
    "WORKER_WAIT_S": (0, 20),
    "WORKER_DRAIN_S": (0, 600),
    "WORKER_MAX_HANDLE_S": (1, 39600),
    "WORKER_MAX_ATTEMPTS": (1, 1000),
    "WORKER_MAX_DELIVERIES": (1, 995),
    "WORKER_HEALTH_PORT": (1, 65535),
}


@given(st.sampled_from(sorted(RANGES)), st.data())
def test_a_number_is_accepted_if_it_is_in_its_range(variable: str, data: st.DataObject) -> None:
    least, most = RANGES[variable]
    value = data.draw(st.integers(least - 2, most + 2) | st.sampled_from([least - 1, least, most, most + 1]))
    assert isinstance(read({variable: str(value)}), Settings) is (least <= value <= most)
