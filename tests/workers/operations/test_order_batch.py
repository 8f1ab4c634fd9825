import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW, FakeClient, fake_stack
from workers.operations import order_batch
from workers.operations.errors import OperationError
from workers.operations.order_batch import OrderBatch, Source, sources
from workers.operations.order_record import Record
from workers.operations.records import BadRecord
from workers.operations.submit import Submission, Summary

CARD = "4929123412345678"
HEADER = "OrderId,Name,ItemName,Price,CC\n"
NO_INPUT = io.BytesIO()


def order(order_id: str, **changes: str) -> dict[str, str]:
    return {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "1", "CC": CARD} | changes


def row(order_id: str) -> str:
    return f"{order_id},Ada,Bicycle,1,{CARD}\n"


def written(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def batch_of(*paths: str, stdin: bytes = b"") -> OrderBatch:
    return OrderBatch(sources(paths, io.BytesIO(stdin)))


def reasons(batch: OrderBatch) -> list[str]:
    return [f"{bad.file}:{bad.line}: {bad.reason}" for bad in batch.check() if isinstance(bad, BadRecord)]


def ids(records: Iterator[Record]) -> list[str]:
    return [record.order_id for record in records]


def test_several_files_are_read_twice_in_their_order(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", HEADER + row("1") + row("2"))
    second = written(tmp_path / "b.json", json.dumps([order("3")]))
    batch = batch_of(first, second, "-", stdin=json.dumps(order("4")).encode())
    assert reasons(batch) == []
    assert ids(batch.records()) == ["1", "2", "3", "4"]
    assert [(entry.file, entry.line) for entry in batch.ledger.entries()] == [
        (first, 2),
        (first, 3),
        (second, 1),
        ("stdin", 1),
    ]


def test_while_files_are_checked_their_bytes_are_counted(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", HEADER + "".join(row(str(n)) for n in range(3_000)))
    second = written(tmp_path / "b.jsonl", json.dumps(order("x")))
    batch, reports = batch_of(first, second, "-", stdin=json.dumps(order("y")).encode()), list[int]()
    assert len(list(batch.check(reports.append))) == 3_002
    assert sum(reports) == batch.size > Path(first).stat().st_size
    assert len(reports) == 6 + 3
    assert all(0 <= report < Path(first).stat().st_size for report in reports)


def test_an_order_id_may_not_be_repeated_in_any_file(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", HEADER + row("1") + row("2") + row("1"))
    second = written(tmp_path / "b.json", json.dumps([order("3"), order("2"), order("3")]))
    batch = batch_of(first, second)
    assert reasons(batch) == [
        f"{first}:4: OrderId is already in line 2",
        f"{second}:1: element 2: OrderId is already in {first} line 3",
        f"{second}:1: element 3: OrderId is already in element 1",
    ]
    assert ids(batch.records()) == ["1", "2", "3"]
    assert [problem for _, problem in batch.rejects()] == [
        "OrderId is already in line 2",
        f"element 2: OrderId is already in {first} line 3",
        "element 3: OrderId is already in element 1",
    ]


def test_files_without_orders_are_named(tmp_path: Path) -> None:
    empty, header = written(tmp_path / "empty", ""), written(tmp_path / "header.csv", HEADER)
    bad = written(tmp_path / "bad.csv", f"{HEADER}1\n")
    batch = batch_of(empty, header, bad)
    assert len(reasons(batch)) == 1
    assert batch.empty_files == [empty, header]


@pytest.mark.parametrize("again", ["same", "link"])
def test_a_file_may_not_be_given_twice(tmp_path: Path, again: str) -> None:
    path = written(tmp_path / "a.csv", HEADER)
    if again == "link":
        (tmp_path / "link").symlink_to(path)
    second = path if again == "same" else str(tmp_path / "link")
    with pytest.raises(OperationError, match=f"{second} is given twice"):
        sources([path, second], NO_INPUT)


def test_files_whose_names_are_shown_alike_are_told_apart(tmp_path: Path) -> None:
    first = written(tmp_path / "orders-20261126120000.csv", HEADER + row("1"))
    second = written(tmp_path / "orders-20261126130000.csv", HEADER + row("1") + row("2"))
    batch, shown = batch_of(first, second), f"{tmp_path}/orders-****.csv"
    assert reasons(batch) == [f"file 2: {shown}:2: OrderId is already in {shown} line 2"]
    assert ids(batch.records()) == ["1", "2"]
    assert len(list(batch.rejects())) == 1


def test_standard_input_may_not_be_given_twice() -> None:
    with pytest.raises(OperationError, match=r"^stdin is given twice"):
        sources(["-", "-"], NO_INPUT)


def test_a_pipe_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert order_batch.MAX_KEPT_BYTES == 256 * 1024 * 1024
    monkeypatch.setattr(order_batch, "MAX_KEPT_BYTES", 1024 * 1024)
    sources(["-"], io.BytesIO(b"x" * 1024 * 1024))
    with pytest.raises(OperationError) as raised:
        sources(["-"], io.BytesIO(b"x" * (1024 * 1024 + 1)))
    assert str(raised.value) == (
        "stdin has more than 1 MiB, which are kept in memory: write it to a file and submit that, or submit it in parts"
    )


CHANGES: dict[str, Callable[[str], str]] = {
    "a value": lambda text: text.replace("Bicycle", "Bell"),
    "an order more": lambda text: text + row("4"),
    "an order less": lambda text: text.replace(row("3"), ""),
    "a line more at the start": lambda text: text.replace(HEADER, f"{HEADER}\n"),
    "orders swapped": lambda _: HEADER + row("2") + row("1") + row("3"),
    "nothing left": lambda _: "",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_has_changed_is_not_submitted_any_further(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.csv"
    batch = batch_of(written(path, HEADER + row("1") + row("2") + row("3")))
    assert reasons(batch) == []
    checked = ids(batch.records())
    written(path, CHANGES[change](path.read_text(encoding="utf-8")))
    found = list[Record]()
    with pytest.raises(OperationError, match=f"{path}.*: the file has changed since it was checked"):
        found.extend(batch.records())
    assert set(ids(iter(found))) <= set(checked)
    with pytest.raises(OperationError, match="has changed"):
        list(batch.rejects())


def test_a_changed_bad_record_changes_no_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    batch = batch_of(written(path, HEADER + row("1") + "bad\n" + row("2")))
    assert len(reasons(batch)) == 1
    written(path, HEADER + row("1") + "worse\n" + row("2"))
    assert ids(batch.records()) == ["1", "2"]


@pytest.mark.parametrize("when", ["check", "records"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, when: str) -> None:
    path = tmp_path / "a.csv"
    batch = batch_of(written(path, HEADER + row("1")))
    if when == "records":
        list(batch.check())
    path.unlink()
    with pytest.raises(OperationError, match=f"{path}: No such file or directory"):
        list(getattr(batch, when)())


ORDERS, WIDTH = 200, 60_000
FORMS: dict[str, tuple[str, Callable[[int], str]]] = {
    "orders.csv": ("More," + HEADER, lambda n: f"{'x' * WIDTH},{row(f'order-{n:05}')}"),
    "orders.jsonl": ("", lambda n: json.dumps(order(f"order-{n:05}", More="x" * WIDTH)) + "\n"),
    "orders.json": ("[", lambda n: json.dumps(order(f"order-{n:05}", More="x" * WIDTH)) + ",\n"),
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_large_file_is_submitted_in_little_memory(tmp_path: Path, name: str) -> None:
    path, (start, of) = tmp_path / name, FORMS[name]
    with path.open("w", encoding="utf-8") as file:
        file.write(start)
        for n in range(ORDERS - 1):
            file.write(of(n))
        file.write(of(ORDERS - 1).rstrip(",\n") + "]" * (start == "["))
    assert path.stat().st_size > ORDERS * WIDTH

    class Stub(FakeClient):
        async def call(self, operation: str, **request: Any) -> Any:
            return self.operations[operation](**request)

    started = Stub(start_execution=lambda **_: {"startDate": NOW, "ResponseMetadata": {}})
    batch = batch_of(str(path))
    tracemalloc.start()
    try:
        assert sum(isinstance(record, Record) for record in batch.check()) == ORDERS
        submission = Submission(fake_stack(stepfunctions=started), batch.ledger, batch.records, Summary(), number=1)
        await submission.run()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert submission.summary == Summary(submitted=ORDERS)
    assert peak_bytes < ORDERS * WIDTH / 2


def test_of_an_order_only_a_hundred_bytes_are_kept(tmp_path: Path) -> None:
    count = 1_000
    batch = batch_of(written(tmp_path / "a.csv", HEADER + "".join(row(f"order-{n:06}") for n in range(count))))
    tracemalloc.start()
    try:
        assert reasons(batch) == []
        kept_by_python, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_by_python < 50 * count
    database = batch.ledger._database
    pages, page_bytes = (database.execute(f"PRAGMA {of}").fetchone()[0] for of in ("page_count", "page_size"))
    assert pages * page_bytes < 130 * count


def test_a_source_can_be_opened_again_and_again() -> None:
    (source,) = sources(["-"], io.BytesIO(b"abc"))
    assert isinstance(source, Source)
    assert [source.open().read() for _ in range(2)] == [b"abc"] * 2


def test_the_progress_of_a_check_is_reported_every_500_records(tmp_path: Path) -> None:
    for count, reports in ((499, 1), (500, 2)):
        path, done = (
            written(tmp_path / f"{count}.csv", HEADER + "".join(row(str(n)) for n in range(count))),
            list[int](),
        )
        assert len(list(batch_of(path).check(done.append))) == count
        assert (len(done), sum(done)) == (reports, Path(path).stat().st_size)
