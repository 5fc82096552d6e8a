"""A journal as one file for other tools: .npz, or .parquet."""

from collections.abc import Iterator
from itertools import islice
import json
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rlt_ros.errors import UserError
from rlt_ros.report.replay import BATCH, OUTCOMES, Inspection, Report, decode, journal_of
from rlt_ros.rl import journal
from rlt_ros.rl.assembly import STORED_MODES
from rlt_ros.rl.journal import ARRAYS, NUMBERS, Record

FORMATS = ('.npz', '.parquet')


def check_format(path: Path) -> None:
    """Raises UserError for a file that cannot be exported to, before any work is done."""
    if path.suffix not in FORMATS:
        raise UserError(f'export file "{path}" is not allowed: its name must end in {" or ".join(FORMATS)}')
    if not path.parent.is_dir():
        raise UserError(f'export file "{path}" cannot be written: there is no folder {path.parent}')


def export(found: Inspection, path: Path, report: Report = lambda part: None) -> None:
    """Write all transitions, by field; mode and outcome as int8, with `modes` and `outcomes` as their legends.

    Parquet keeps the legends as JSON in its metadata. The file is there whole or not at all; raises UserError.
    """
    check_format(path)
    columns, legends = columns_of(found, report), {'modes': STORED_MODES, 'outcomes': OUTCOMES}
    beside = path.with_name(f'.{path.name}.tmp')
    try:
        with beside.open('wb') as file:
            if path.suffix == '.npz':
                np.savez(file, **columns, **{name: np.array(words) for name, words in legends.items()})
            else:
                write_parquet(file, columns, {name: json.dumps(words) for name, words in legends.items()})
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise UserError(f'export file "{path}" cannot be written: {error.strerror or error}') from None
    finally:
        beside.unlink(missing_ok=True)


def columns_of(found: Inspection, report: Report) -> dict[str, np.ndarray]:
    """Every field of the transitions that were inspected, (N,) or (N, width)."""
    fields: dict[str, list] = {name: [] for name in ('episode', 'mode', 'outcome', *NUMBERS, *ARRAYS, 'human')}
    for number, record in enumerate(transitions(found)):
        values = {'episode': record.episode, 'mode': STORED_MODES.index(record.mode),
                  'outcome': OUTCOMES.index(record.outcome)}  # fmt: skip
        for name, column in fields.items():
            column.append(values[name] if name in values else getattr(record.transition, name))
        if number % BATCH == 0:
            report(number / len(found.rows))
    report(1.0)
    kinds = {'mode': np.int8, 'outcome': np.int8}
    return {name: np.array(fields.pop(name), kinds.get(name)) for name in tuple(fields)}


def transitions(found: Inspection) -> Iterator[Record]:
    """The records that were inspected, and none that came since."""
    path = journal_of(found.folder)
    payloads = (payload for _, _, payload in journal.records(path))
    return (decode(path, payload) for payload in islice(payloads, len(found.rows)))


def write_parquet(file: BinaryIO, columns: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Columns with a width become lists of that fixed size."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({
        name: pyarrow.array(values) if values.ndim == 1
        else pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), values.shape[1])
        for name, values in columns.items()
    }, metadata=metadata)  # fmt: skip
    parquet.write_table(table, file, use_dictionary=False)  # numbers that hardly repeat
