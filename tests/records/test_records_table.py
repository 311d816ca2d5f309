"""The record keeps what the laboratory wrote and gains what was measured."""

import pandas as pd
import pytest

from bonemet.core.errors import InputError
from bonemet.core.ids import ScanKey
from bonemet.records import table
from bonemet.records.schema import COLUMNS, recognise

LAB = "Mouse ID,week,Leg,Body Weight (g),Cage\n871,0,L,21.40,A 3\n871,3,left,20.10,A 3\n"


def test_headers_are_recognised_and_unknown_columns_stay(tmp_path):
    path = tmp_path / "record.csv"
    path.write_bytes(b"\xef\xbb\xbf" + LAB.encode())
    read = table.read(path)
    assert list(read.columns) == ["Animal", "Week", "Side", "Body Weight (g)", "Cage"]
    assert read["Body Weight (g)"].tolist() == ["21.40", "20.10"]


def test_measures_are_joined_and_nothing_is_lost(tmp_path):
    path = tmp_path / "record.csv"
    path.write_text(LAB)
    measured = {
        ScanKey("871", 3, "left", "tibia"): {"Bone volume (mm3)": 9.87654321, "Tb.Th (mm)": None},
        ScanKey("872", 0, "right", "tibia"): {"Bone volume (mm3)": 8.0},
    }
    joined = table.join(table.read(path), measured)
    assert joined["Bone volume (mm3)"].tolist() == ["", "9.87654", "8"]
    assert joined["Cage"].tolist() == ["A 3", "A 3", ""]
    assert joined["Tb.Th (mm)"].tolist() == ["", "", ""]
    assert joined.loc[2, ["Animal", "Week", "Side"]].tolist() == ["872", "0", "right"]
    table.write(path, joined)
    again = table.join(table.read(path), measured)
    pd.testing.assert_frame_equal(again, joined)
    assert table.same(table.read(path), joined)
    assert not table.same(table.read(path), joined.assign(Cage="B"))


def test_every_published_column_is_recognised_by_its_own_header():
    for column in COLUMNS:
        assert recognise(column.header) is column


@pytest.mark.parametrize(
    ("text", "words"), [("a,b\n1,2\n", "Animal"), ("Animal,Mouse ID\n1,2\n", "both mean"), ("", "readable")]
)
def test_a_table_that_cannot_be_joined_is_refused(tmp_path, text, words):
    path = tmp_path / "record.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        table.read(path)
