"""Reading, joining and writing ``record.csv``.

The table holds one row per animal, week and side. What the laboratory wrote is kept as it is;
only measured columns are filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bonemet.core.errors import InputError
from bonemet.core.ids import ScanKey
from bonemet.io.output import whole_file
from bonemet.records.schema import COLUMNS, KEYS, recognise

_KEY_HEADERS = [c.header for c in KEYS]


def empty() -> pd.DataFrame:
    """Return a table without rows, with all published columns."""
    return pd.DataFrame(columns=[c.header for c in COLUMNS], dtype=object)


def read(path: Path) -> pd.DataFrame:
    """Read a record; headers that are recognised get their standard spelling, others stay.

    Every cell stays the text that it is, so nothing is lost by reading and writing.

    Raises
    ------
    InputError
        If the file is no table, lacks the column Animal, or has two columns that mean the same.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable CSV table in UTF-8 ({error}).") from error
    known = {header: recognise(str(header)) for header in table.columns}
    table = table.rename(columns={h: c.header for h, c in known.items() if c is not None})
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise InputError(f"{path} has two columns that both mean {twice[0]!r}; keep one of them.")
    if "Animal" not in table.columns:
        raise InputError(f"{path} has no column 'Animal', so its rows cannot be joined with scans.")
    for header in ("Week", "Side"):
        if header not in table.columns:
            table[header] = ""
    return table


def join(table: pd.DataFrame, measured: Mapping[ScanKey, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table with measured values filled in, new rows added where they were missing.

    Parameters
    ----------
    table
        A record as :func:`read` returns it.
    measured
        Header to value, for each tibia and week; None leaves an empty cell.
    """
    headers = list(dict.fromkeys([*table.columns, *(c.header for c in COLUMNS)]))
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    for key in sorted(measured):
        row = next((r for r in rows if _matches(r, key)), None)
        if row is None:
            row = dict(zip(_KEY_HEADERS, (key.animal, str(key.week), key.side or ""), strict=True))
            rows.append(row)
        row.update({h: _cell(v) for h, v in measured[key].items()})
    return pd.DataFrame(rows, columns=headers, dtype=object).fillna("")


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Tell whether two records would be written alike."""
    return (
        list(a.columns) == list(b.columns)
        and a.astype(str).to_numpy().tolist() == b.astype(str).to_numpy().tolist()
    )


def _matches(row: Mapping[str, Any], key: ScanKey) -> bool:
    week = str(row["Week"]).lower().replace("week", "").strip()
    side = str(row["Side"]).strip().lower()[:1]
    return (
        str(row["Animal"]).strip() == key.animal
        and week in {str(key.week), f"{key.week}.0"}
        and side == (key.side or "")[:1]
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write(path: Path, table: pd.DataFrame) -> None:
    """Write a record; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8", lineterminator="\n")
