"""Two data sets are the same where every photo has the same split, name, label and contents."""

from __future__ import annotations

import pytest

from streetlab.datasets.manifest import Entry, Manifest, changes, read_entries

ENTRIES = [
    Entry("train", "a/1.jpg", "a", "11"),
    Entry("train", "b/2.jpg", "b", "22"),
    Entry("test", 'b/caf\udce9 "x",\r\n3.jpg', "b", "33"),
]


def manifest(entries: list[Entry]) -> Manifest:
    return Manifest(entries, "0" * 16)


def test_the_hashes_do_not_follow_the_order() -> None:
    assert manifest(ENTRIES).data_hash == manifest(ENTRIES[::-1]).data_hash
    assert manifest(ENTRIES).data_hash != manifest(ENTRIES).photos_hash


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_each_part_of_an_entry_counts(place: int) -> None:
    parts = list(ENTRIES[0])
    parts[place] = "val"
    other = manifest([Entry(*parts), *ENTRIES[1:]])
    assert other.data_hash != manifest(ENTRIES).data_hash
    assert (other.photos_hash == manifest(ENTRIES).photos_hash) == (place == 0)


def test_a_table_of_entries_reads_back_as_it_was_whatever_the_names_hold() -> None:
    assert sorted(read_entries(manifest(ENTRIES).to_csv())) == sorted(ENTRIES)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "split,id,label,content\ntrain,only\n"])
def test_another_table_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_entries(text)


def test_changes_are_counted_by_kind() -> None:
    now = [
        Entry("val", "a/1.jpg", "a", "11"),
        Entry("train", "b/2.jpg", "a", "2x"),
        Entry("train", "b/4.jpg", "b", "44"),
        Entry("train", "b/5.jpg", "b", "55"),
    ]
    assert changes(ENTRIES, now) == "2 photos came, 1 went, 1 changed, 1 changed label, 1 changed split"
    assert changes(ENTRIES, ENTRIES[:2]) == "1 photo went"
    assert changes(ENTRIES, ENTRIES) == "none came, went or changed"
