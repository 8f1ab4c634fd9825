import pytest


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pages of orders and cases wait for what they show, however slow the machine is."""
    for page in ("orders", "cases"):
        monkeypatch.setattr(f"workers.console.pages.{page}.PATIENCE_S", 60)
