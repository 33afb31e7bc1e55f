"""Choosing candidates for a device: the solver's answer is the best of all, and a refusal says what is missing."""

import re
from dataclasses import dataclass, replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from dovetail.sw import choose as unit
from dovetail.sw.choose import PlanError, choose, cost, pick
from dovetail.sw.resources import Resources, capacity
from dovetail.sw.settings import Device

DEVICE = Device.ECP5_25K
#: What a multiplier takes that is made of look-up tables.
SOFT = 100


@dataclass(frozen=True)
class Offer:
    """What `choose` sees of a candidate."""

    cycles: float
    lut: int
    block_ram: int = 0
    multiplier: int = 0
    soft: int = 0
    name: str = "fc0"

    @property
    def arch(self):
        return SimpleNamespace(name=self.name)

    @property
    def most_soft(self):
        return self.multiplier

    def with_soft(self, soft):
        return replace(self, soft=soft)

    def resources(self, device):
        return Resources(lut=self.lut + SOFT * self.soft, block_ram=self.block_ram,
                         multiplier=self.multiplier - self.soft)


def taken(chosen):
    return sum((one.resources(DEVICE) for one in chosen), Resources())


def fits(total):
    room = capacity(DEVICE)
    return (total.lut <= int(unit.MOST_FILL * room.lut) and total.block_ram <= room.block_ram
            and total.multiplier <= room.multiplier)


def best(layers, target):
    """By trying everything: (cycles, cost) without a target, (cost,) with one; None where nothing fits."""
    found = None
    for chosen in product(*layers):
        pace, room = max(one.cycles for one in chosen), capacity(DEVICE)
        if target is not None and pace > target:
            continue
        count = sum(one.multiplier for one in chosen)
        soft = max(0, count - room.multiplier)
        total = taken(chosen)
        total = replace(total, lut=total.lut + SOFT * soft, multiplier=count - soft)
        if fits(total):
            key = (cost(total),) if target is not None else (pace, cost(total))
            found = key if found is None else min(found, key)
    return found


def offers(rng, count):
    return [Offer(cycles=int(rng.integers(100, 900)), lut=int(rng.integers(500, 14_000)),
                  block_ram=int(rng.integers(0, 40)), multiplier=int(rng.integers(0, 40))) for _ in range(count)]


@pytest.mark.parametrize("target", [None, 300, 600])
@pytest.mark.parametrize("seed", range(12))
def test_best_of_all(seed, target):
    rng = np.random.default_rng(seed)
    layers = [offers(rng, int(rng.integers(1, 7))) for _ in range(int(rng.integers(1, 5)))]
    expected = best(layers, target)
    if expected is None:
        with pytest.raises(PlanError):
            choose(layers, device=DEVICE, target=target)
        return
    chosen = choose(layers, device=DEVICE, target=target)
    assert fits(taken(chosen))
    pace = max(one.cycles for one in chosen)
    assert target is None or pace <= target
    found = (cost(taken(chosen)),) if target is not None else (pace, cost(taken(chosen)))
    assert found == pytest.approx(expected)     # sums of hundredths


def test_soft_multipliers_where_there_are_too_few():
    """28 on the device: the rest are made of look-up tables, and no more than the rest."""
    chosen = choose([[Offer(100, 1000, multiplier=20)], [Offer(100, 1000, multiplier=20)]], device=DEVICE, target=None)
    assert sum(one.soft for one in chosen) == 12
    assert taken(chosen) == Resources(lut=3200, multiplier=28)


def test_excess_is_named():
    layers = [[Offer(100, 1000, block_ram=70), Offer(400, 1000, block_ram=30)], [Offer(100, 1000, block_ram=20)]]
    message = ("no plan of 200 cycles per inference fits ecp5-25k: the closest needs 34 block RAMs more than the 56 "
               "that may be taken; what would fit: 400 cycles on this device, or ecp5-45k at this pace")
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$") as caught:
        choose(layers, device=DEVICE, target=200)
    assert caught.value.exit_code == 1


def test_excess_at_any_pace():
    message = ("no plan fits ecp5-25k: the closest needs 10,141 look-up tables more than the 21,859 that may be taken; "
               "what would fit: ecp5-45k")
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        choose([[Offer(100, 40_000), Offer(900, 32_000)]], device=DEVICE, target=None)


def test_nothing_would_fit():
    with pytest.raises(PlanError, match=r"more than the 21,859 that may be taken$"):
        choose([[Offer(100, 400_000)]], device=DEVICE, target=None)


def test_layer_that_is_too_slow():
    with pytest.raises(PlanError, match=r"^layer 'slow' cannot reach 200 cycles per inference; the fastest engine "
                                        r"found takes about 300$"):
        choose([[Offer(100, 10)], [Offer(300, 10, name="slow")]], device=DEVICE, target=200)


def test_pick():
    cheap, fast = Offer(400, 10), Offer(100, 1000)
    assert pick([fast, cheap], target=400, device=DEVICE) is cheap
    assert pick([fast, cheap], target=399, device=DEVICE) is fast
    assert pick([fast, cheap], target=99, device=DEVICE) is None
