"""The files that are given to `orders submit`: read once to check them, and again to submit what is good in them."""

import contextlib
import io
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.domain.text import clean
from workers.operations.errors import OperationError
from workers.operations.files.encodings import Encoding
from workers.operations.files.findings import Findings
from workers.operations.ledger import Found, Ledger
from workers.operations.order_files import Reading, read_orders, read_records, repeated
from workers.operations.order_record import Record
from workers.operations.progress import Progress, unreported
from workers.operations.records import BadRecord, RawRecord

STDIN = "-"
# What cannot be read twice is kept in memory. It is never written to a file, because it has card numbers.
MAX_KEPT_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_REPORT_EVERY = 500  # Records.
_CHANGED = "the file has changed since it was checked, so no more of it was read"


@dataclass(frozen=True, slots=True)
class Source:
    """
    A file of orders that can be read more than once, and its size in bytes.

    *name* is for people, and no other file of a command has it.
    """

    name: str
    open: Callable[[], BinaryIO]
    size: int = 0


def sources(paths: Sequence[str], stdin: BinaryIO) -> list[Source]:
    """
    Return the files of these paths; `-` is *stdin*.

    Raises:
        OperationError: A file is given twice, cannot be opened, or is a pipe with too much in it.
    """
    found, given = list[Source](), set[object]()
    for number, path in enumerate(paths, 1):
        name = "stdin" if path == STDIN else clean(path)
        with _errors_of(name):
            status = None if path == STDIN else Path(path).stat()
            file = STDIN if status is None else (status.st_dev, status.st_ino)
            if file in given:
                raise OperationError(f"{name} is given twice")
            given.add(file)
        while any(name == source.name for source in found):  # A name with a time of day is masked like a card number.
            name = f"file {number}: {name}"
        with _errors_of(name):
            found.append(_source(name, path, stdin, is_file=status is not None and stat.S_ISREG(status.st_mode)))
    return found


def _source(name: str, path: str, stdin: BinaryIO, *, is_file: bool) -> Source:
    if is_file:
        return Source(name, lambda: Path(path).open("rb"), Path(path).stat().st_size)
    with contextlib.nullcontext(stdin) if path == STDIN else Path(path).open("rb") as stream:
        content = io.BytesIO()
        while chunk := stream.read(_CHUNK_BYTES):
            content.write(chunk)
            if content.tell() > MAX_KEPT_BYTES:
                raise OperationError(
                    f"{name} has more than {MAX_KEPT_BYTES // 2**20} MiB, which are kept in memory: "
                    "write it to a file and submit that, or submit it in parts"
                )
    data = content.getvalue()
    return Source(name, lambda: io.BytesIO(data), len(data))


class OrderBatch:
    """The orders of some files. Of what was read, only what the *ledger* has is kept."""

    def __init__(
        self, files: Sequence[Source], columns: Mapping[str, str] = {}, encoding: Encoding | None = None
    ) -> None:
        """Prepare to read *files*; *columns* and *encoding* are those of `Reading`."""
        self.ledger = Ledger()
        self.empty_files: list[str] = []
        self._files = [(file, Reading(columns, encoding)) for file in files]

    @property
    def findings(self) -> list[tuple[str, Findings]]:
        """What was found in each file while it was checked."""
        return [(file.name, reading.findings) for file, reading in self._files]

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(file.size for file, _ in self._files)

    def check(self, progress: Progress = unreported) -> Iterator[Record | BadRecord]:
        """
        Yield all records, and add the good ones to the ledger. *progress* is called with numbers of bytes.

        Raises:
            OperationError: A file cannot be read, or is not one of orders.
        """
        for file, reading in self._files:
            count = reported = 0
            with _errors_of(file.name):
                stream = file.open()
                for count, record in enumerate(read_orders(file.name, stream, self.ledger, reading), 1):
                    if count % _REPORT_EVERY == 0:
                        position = stream.tell()
                        progress(position - reported)
                        reported = position
                    yield record
            progress(file.size - reported)
            if not count:
                self.empty_files.append(file.name)

    def records(self) -> Iterator[Record]:
        """
        Read the files again, and yield the good records. A record that was not checked is never yielded.

        Raises:
            OperationError: A file cannot be read, or has changed since it was checked.
        """
        for _, record, found in self._read_again():
            if isinstance(record, Record) and found is Found.UNCHANGED:
                yield record

    def rejects(self) -> Iterator[tuple[RawRecord, str]]:
        """
        Read the files again, and yield the records that were not submitted, with the reason.

        Raises:
            OperationError: A file cannot be read, or has changed since it was checked.
        """
        for raw, record, found in self._read_again():
            if isinstance(record, BadRecord):
                yield raw, record.reason
            elif found is Found.REPEATED:
                yield raw, repeated(raw, record, self.ledger.place(record.order_id, record.file)).reason
            elif problem := self.ledger.problem(record.order_id):
                yield raw, problem

    def _read_again(self) -> Iterator[tuple[RawRecord, Record | BadRecord, Found | None]]:
        for file, checked in self._files:
            unchanged, reading = 0, Reading(checked.columns, checked.findings.encoding)
            with _errors_of(file.name):
                for raw, record in read_records(file.name, file.open(), reading):
                    found = None if isinstance(record, BadRecord) else self.ledger.find(record)
                    if found is Found.CHANGED:
                        raise OperationError(f"{file.name}:{record.line}: {_CHANGED}")
                    unchanged += found is Found.UNCHANGED
                    yield raw, record, found
            if unchanged < self.ledger.count(file.name):
                raise OperationError(f"{file.name}: {_CHANGED}")


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperationError(f"{name}: {error.strerror or error}") from error
