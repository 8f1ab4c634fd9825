"""What one console knows."""

import pytest

from tests.workers.console.site import LOCAL, PORT, READ_ONLY, TOKEN
from tests.workers.console.test_system import world
from workers.console.console import Console, Place, login_name
from workers.console.security import Guard


@pytest.mark.parametrize(("place", "alarms"), [(LOCAL, None), (READ_ONLY, ["OrdersStuck"])])
async def test_all_viewers_share_one_status_which_has_alarms_on_aws(place: Place, alarms: list[str] | None) -> None:
    console = Console(world().stack(), Guard(TOKEN, PORT, ()), place, "ada")
    reading = await console.status.latest()
    assert reading
    assert reading.value
    assert reading.value.open_cases == 0
    raised = console.system.alarms
    assert (None if raised is None else [alarm.name for alarm in raised]) == alarms
    assert console.status is console.status
    console.feeds.close()


def test_the_proposed_name_is_that_of_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert login_name() == "grace"


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_a_user_without_a_name_is_unknown(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", fail)
    assert login_name() == "unknown"
