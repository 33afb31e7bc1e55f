"""Seeds until the clock is met, and the rate of the line."""

from dataclasses import replace
from pathlib import Path

import pytest

from dovetail.boards import bitstream
from dovetail.boards.bitstream import place_at
from dovetail.boards.clocking import clocking
from dovetail.boards.devices import Family
from dovetail.boards.kits.icebreaker import ICEBREAKER
from dovetail.boards.line_rate import line_rate
from dovetail.boards.place import NotRouted, Placement, Timing
from dovetail.boards.synth import Synthesis
from dovetail.boards.wiring import constraints

PLACEMENT = Placement(fmax_mhz=0, timing=Timing.LOWER_BOUND, seed=0, fmax_by_seed={}, utilisation={}, path=[],
                      seconds=1, tool="1", folder=Path(), cached=False)
SYNTHESIS = Synthesis(family=Family.ICE40_DSP, top="board", counts={}, netlist=Path(), seconds=1, tool="1",
                      cached=False)


@pytest.mark.parametrize("reached, seeds, batches, seed", [
    ([20, 30, 40], 6, [[1]], 1),
    ([10, 17, 19], 6, [[1], [2, 3]], 3),
    ([10, 18, 12, 11], 6, [[1], [2, 3]], 2),
    ([17, 16, 15, 14], 4, [[1], [2, 3], [4]], 1),
    ([10, 11], 2, [[1], [2]], 2),
    ([10], 1, [[1]], 1),
    ([0, 0, 0, 11, 18], 6, [[1], [2, 3], [4, 5]], 5),       # 0: the router found no end
    ([0, 11, 0, 0, 0], 5, [[1], [2, 3], [4, 5]], 2),
])
def test_seeds_until_the_clock_is_met(monkeypatch, reached, seeds, batches, seed):
    tried = []

    def place(synthesis, device, *, seeds, megahertz, watch, pins):
        assert synthesis is SYNTHESIS and megahertz == 18 and pins == constraints(ICEBREAKER)
        tried.append(list(seeds))
        found = {number: reached[number - 1] for number in seeds}
        if not any(found.values()):
            raise NotRouted("no end")
        best = max(found, key=lambda number: found[number])
        return replace(PLACEMENT, seed=best, fmax_mhz=found[best], fmax_by_seed=found)

    monkeypatch.setattr(bitstream, "place", place)
    clock = clocking(ICEBREAKER, megahertz=18, baud=1_000_000)
    found = place_at(SYNTHESIS, ICEBREAKER, clock, seeds=seeds)
    assert tried == batches and found.seed == seed and found.fmax_mhz == reached[seed - 1]
    count = sum(map(len, batches))
    assert found.fmax_by_seed == dict(enumerate(reached[:count], 1))


def test_no_seed_is_routed(monkeypatch):
    def place(*_, seeds, **__):
        raise NotRouted(f"no end with {list(seeds)}")

    monkeypatch.setattr(bitstream, "place", place)
    clock = clocking(ICEBREAKER, megahertz=18, baud=1_000_000)
    with pytest.raises(NotRouted, match=r"^no end with \[2, 3\]$") as caught:
        place_at(SYNTHESIS, ICEBREAKER, clock, seeds=3)
    assert caught.value.exit_code == 1


def test_seeds_wrong():
    clock = clocking(ICEBREAKER, megahertz=18, baud=1_000_000)
    with pytest.raises(ValueError, match=r"^seeds must be at least 1, not 0$"):
        place_at(SYNTHESIS, ICEBREAKER, clock, seeds=0)


def interface(codes, bits, elements, out_bits):
    return {"input": {"codes_per_frame": codes, "bits": bits},
            "output": {"elements_per_frame": elements, "bits": out_bits}}


def test_line_of_long_frames():
    """64 codes of an octet each: 9 octets and a flag more; 100,000 octets a second."""
    rate = line_rate(interface(64, 8, 10, 20), baud=1_000_000, clock_hz=1e8, cycles=1000, latency=2000, window=2)
    assert (rate.request, rate.reply, rate.network) == (64, 30, 1e5)
    assert rate.worst == pytest.approx(100_000 / (1 + 2 * 73))
    assert rate.typical == pytest.approx(100_000 / (1 + 73 * 258 / 256))


def test_line_of_long_answers():
    rate = line_rate(interface(4, 9, 100, 8), baud=1_000_000, clock_hz=1e8, cycles=1000, latency=0, window=2)
    assert (rate.request, rate.reply) == (8, 100) and rate.worst == pytest.approx(100_000 / (1 + 2 * 109))


def test_line_that_is_faster_than_its_network():
    rate = line_rate(interface(4, 8, 4, 8), baud=100_000_000, clock_hz=1e6, cycles=1000, latency=1000, window=2)
    assert rate.typical == rate.worst == rate.network == 1000


def test_line_that_waits_for_answers():
    """One call at a time: question, work and answer follow each other."""
    one = line_rate(interface(11, 8, 11, 8), baud=1_000_000, clock_hz=1e6, cycles=100, latency=300, window=1)
    assert one.worst == pytest.approx(1 / (2 * 410e-6 + 300e-6))
