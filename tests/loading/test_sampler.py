"""The order of training is a function of seed, epoch and ids, shared out fairly between processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from streetlab.loading.sampler import EpochBatches, mix, sample_keys


def ids(count: int) -> list[str]:
    return [f"train/clean/{number}.png" for number in range(count)]


def batches(names: list[str], epoch: int = 0, **options) -> list[list[tuple[int, int]]]:
    settings = {"batch_size": 4, "seed": 0, "shuffle": True} | options
    return list(EpochBatches(sample_keys(names), epoch=lambda: epoch, **settings))


def order(names: list[str], epoch: int = 0, **options) -> list[str]:
    return [names[row] for batch in batches(names, epoch, **options) for _, row in batch]


def test_sample_keys_are_the_same_on_every_machine() -> None:
    # blake2b with 8 bytes, little-endian, as hashlib and b2sum -l 64 give it
    assert sample_keys(["a", "ä"]).tolist() == [0x2F42665B399EF840, 0x39A02B5EE2BB4DF0]
    assert len(set(sample_keys(ids(10_000)).tolist())) == 10_000


def test_mixing_is_splitmix64() -> None:
    def reference(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    keys = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert mix(keys, 0).tolist() == [reference(int(key)) for key in keys]
    salted = [reference(int(key) ^ (3 * 0x9E3779B97F4A7C15 % 2**64)) for key in keys]
    assert mix(keys, 3).tolist() == salted
    # the published generator (Vigna, splitmix64.c) from state 1234567
    states = np.array([(1234567 + n * 0x9E3779B97F4A7C15) % 2**64 for n in (1, 2)], dtype=np.uint64)
    assert mix(states, 0).tolist() == [6457827717110365317, 3203168211198807973]


def test_the_same_seed_and_epoch_give_the_same_order_and_others_give_others() -> None:
    names = ids(50)
    assert order(names, 3, seed=1) == order(names, 3, seed=1)
    orders = {tuple(order(names, epoch, seed=seed)) for epoch in range(5) for seed in range(5)}
    assert len(orders) == 25


def test_the_order_follows_ids_and_not_rows() -> None:
    names = ids(30)
    assert order(names, 2) == order(names[::-1], 2)


def test_an_added_photo_leaves_the_others_in_order() -> None:
    names = ids(39)
    more = [*names[:10], "train/litter/new.png", *names[10:]]
    assert [name for name in order(more, 1) if "new" not in name] == order(names, 1)


def test_every_photo_is_seen_once_an_epoch_with_its_epoch() -> None:
    found = batches(ids(40), epoch=7)
    assert sorted(row for batch in found for _, row in batch) == list(range(40))
    assert {epoch for batch in found for epoch, _ in batch} == {7}
    assert [len(batch) for batch in found] == [4] * 10


def test_every_place_in_the_order_is_equally_likely() -> None:
    first = Counter(order(ids(8), epoch, batch_size=8)[0] for epoch in range(2000))
    assert len(first) == 8
    assert sum((count - 250) ** 2 / 250 for count in first.values()) < 24.3  # chi-square, 7 degrees, p = 0.001


@pytest.mark.parametrize("count", [16, 17, 19, 21])
def test_training_ranks_are_disjoint_and_make_equally_many_steps(count: int) -> None:
    names = ids(count)
    ranks = [order(names, 1, rank=rank, world_size=2) for rank in (0, 1)]
    assert not set(ranks[0]) & set(ranks[1])
    assert len(ranks[0]) == len(ranks[1]) >= count // 2 - 1
    assert len(batches(names, rank=0, world_size=2)) == len(batches(names, rank=1, world_size=2))


@pytest.mark.parametrize("count", [1, 16, 17])
def test_evaluation_ranks_cover_every_photo_once(count: int) -> None:
    names = ids(count)
    ranks = [order(names, shuffle=False, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == sorted(names)


def test_evaluation_comes_in_the_order_of_the_record_every_epoch() -> None:
    assert order(ids(9), 0, shuffle=False) == order(ids(9), 5, shuffle=False) == ids(9)


@pytest.mark.parametrize("count", range(1, 14))
def test_no_training_batch_of_one_crashes_batchnorm_and_evaluation_drops_nothing(count: int) -> None:
    sizes = [len(batch) for batch in batches(ids(count))]
    assert 1 not in sizes or count == 1
    assert sum(sizes) >= count - 1
    assert sum(len(batch) for batch in batches(ids(count), shuffle=False)) == count


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [1, 4, 5, 6, 13])
def test_the_announced_number_of_batches_is_the_number_that_comes(count: int, shuffle: bool) -> None:
    sampler = EpochBatches(sample_keys(ids(count)), 4, 0, lambda: 0, shuffle)
    assert len(sampler) == len(list(sampler))


def test_batches_of_one_stay_possible_where_asked_for() -> None:
    assert [len(batch) for batch in batches(ids(3), batch_size=1)] == [1, 1, 1]
