import pytest


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages wait for what they show, however slow the machine is."""
    for page in ("orders", "cases", "overview", "queues"):
        monkeypatch.setattr(f"workers.console.pages.{page}.PATIENCE_S", 60)
