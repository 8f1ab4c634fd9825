from workers.domain.reasons import Severity


def test_the_highest_severity_wins() -> None:
    assert Severity.highest([]) is Severity.INFO
    assert Severity.highest([Severity.WARNING, Severity.CRITICAL, Severity.INFO]) is Severity.CRITICAL
    assert Severity.highest([Severity.WARNING, Severity.INFO]) is Severity.WARNING
