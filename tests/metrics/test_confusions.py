"""confusions.npz gives back what was counted, and a damaged one is named."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.errors import UserError
from streetlab.metrics.confusions import Confusions, join_confusions
from streetlab.records.record import RunRecord

NAMES = ("road", "sky", "Straße $x$")


def _written(tmp_path, n=4):
    rng = np.random.default_rng(0)
    record = RunRecord(tmp_path / "run")
    matrices = rng.integers(0, 2**32, (n, 3, 3))
    ids = [f"val/a b/ü{i}\udcff.png" for i in range(n)]
    record.write_confusions({"val": (ids, matrices), "test": (["x.png"], matrices[:1] * 0)}, NAMES)
    return record, ids, matrices


def test_the_record_gives_back_ids_names_and_counts(tmp_path):
    record, ids, matrices = _written(tmp_path)
    found = record.confusions("val")
    assert found.ids == ids
    assert found.names == NAMES
    assert found.matrices.dtype == np.int64
    assert np.array_equal(found.matrices, matrices)
    assert np.array_equal(found.total, matrices.sum(axis=0))
    assert len(record.confusions("test")) == 1
    assert [path.name for path in record.path.iterdir()] == ["confusions.npz"]


def test_a_split_without_images_survives(tmp_path):
    record = RunRecord(tmp_path)
    record.write_confusions({"val": ([], np.zeros((0, 3, 3)))}, NAMES)
    assert record.confusions("val").matrices.shape == (0, 3, 3)


def test_500_images_of_19_classes_take_little_room(tmp_path):
    record = RunRecord(tmp_path)
    matrices = np.random.default_rng(0).integers(0, 9, (500, 19, 19)) ** 5
    record.write_confusions({"val": ([f"val/{i}" for i in range(500)], matrices)}, [f"c{i}" for i in range(19)])
    assert (tmp_path / "confusions.npz").stat().st_size < 500 * 19 * 19 * 4


def test_what_cannot_be_kept_is_refused_and_the_old_file_stays(tmp_path):
    record, ids, matrices = _written(tmp_path)
    for bad in (matrices - 2**33, matrices + 2**33):
        with pytest.raises(ValueError, match=r"allowed 0\.\.4294967295"):
            record.write_confusions({"val": (ids, bad)}, NAMES)
    with pytest.raises(ValueError, match=r"expected \(4, 2, 2\)"):
        record.write_confusions({"val": (ids, matrices)}, NAMES[:2])
    with pytest.raises(ValueError, match=r"expected \(3, 3, 3\)"):
        Confusions(ids[:3], matrices, NAMES)
    assert len(record.confusions("val")) == 4


def test_a_missing_file_or_split_is_named_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"confusions\.npz: no such file"):
        RunRecord(tmp_path).confusions("test")
    record, *_ = _written(tmp_path)
    with pytest.raises(UserError, match="no split 'tests'; it holds val, test; did you mean 'test'"):
        record.confusions("tests")


@pytest.mark.parametrize("damage", ["empty", "half", "text", "npy", "bytes", "arrays"])
def test_a_damaged_file_is_one_clear_error(tmp_path, damage):
    record, *_ = _written(tmp_path)
    path = record.path / "confusions.npz"
    whole = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        path.write_text("not an archive")
    elif damage == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "bytes":
        path.write_bytes(whole[:200] + bytes(40) + whole[240:])
    else:
        np.savez(path, names=np.array(NAMES), val_matrices=np.zeros((2, 3, 3)))
    with pytest.raises(UserError, match=r"confusions\.npz: damaged .*streetlab evaluate") as caught:
        record.confusions("val")
    assert "\n" not in str(caught.value)


def test_groups_return_as_they_were_written_and_older_files_have_none(tmp_path) -> None:
    ids, matrices = ["a", "b", "c"], np.arange(27).reshape(3, 3, 3)
    record = RunRecord(tmp_path)
    record.write_confusions({"val": (ids, matrices), "test": (ids, matrices, ["s1", "s1", ""])}, NAMES)
    with np.load(tmp_path / "confusions.npz") as archive:
        assert sorted(archive.files) == [
            "names", "test_groups", "test_ids", "test_matrices", "val_ids", "val_matrices",
        ]  # fmt: skip
    assert list(record.confusions("test").groups) == ["s1", "s1", ""]
    assert list(record.confusions("val").groups) == ["", "", ""]
    joined = join_confusions([record.confusions("val"), record.confusions("test")])
    assert list(joined.groups) == ["", "", "", "s1", "s1", ""]
    with pytest.raises(ValueError, match="2 names for 3 ids"):
        Confusions(ids, matrices, NAMES, ["s1", "s1"])
