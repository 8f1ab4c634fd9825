from workers.errors import OutageError, TransientError


def test_retry_after_is_bounded() -> None:
    assert OutageError("down", retry_after_s=1e9).retry_after_s == 600
    assert TransientError("busy", retry_after_s=1e9).retry_after_s == 600
