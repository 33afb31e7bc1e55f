"""Random images for the window unit, and a run of it in Amaranth's simulator."""

import random
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from builders import pair_beats

from dovetail.hw.arch import WindowArch, bits_for
from dovetail.hw.windows import Windows

__all__ = ["WindowLog", "make_images", "pixel_counts", "run_windows"]


@dataclass(kw_only=True)
class WindowLog:
    """What was seen; cycle 0 is the first clock edge after reset.

    ``windows``: per window and beat, the pairs (lane, local address, value). ``offered`` and ``first``: the first beat
    of each pixel was offered and transferred; ``last``: its last beat transferred; ``waited``: one of the others was
    not taken at once. ``asked``: from when on the consumer was ready for each window; ``valid``, ``begun`` and
    ``done``: its first beat was valid and transferred, its last beat transferred.
    """

    windows: list[list[list[tuple[int, int, int]]]] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    waited: bool = False
    asked: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def make_images(arch: WindowArch, rng: np.random.Generator, count: int) -> np.ndarray:
    """Codes (count, channels, height, width): of a pixel 0 to ``slots`` are not zero, or any where it is dense."""
    low, high = (-(1 << arch.activation_bits - 1), 1 << arch.activation_bits - 1) if arch.activation_signed else (
        0, 1 << arch.activation_bits)
    images = rng.integers(low, high, (count, arch.channels, arch.height, arch.width))
    if arch.indexed:
        images[images == 0] = 1
        ranks = rng.random(images.shape).argsort(axis=1).argsort(axis=1)
        most = rng.choice([0, arch.slots, *range(arch.slots + 1)], (count, 1, arch.height, arch.width))
        images[ranks >= most] = 0
    return images


def pixel_counts(arch: WindowArch, images: np.ndarray) -> np.ndarray:
    """Pairs of each pixel (count, height, width)."""
    return np.count_nonzero(images, axis=1) if arch.indexed else np.full(images[:, 0].shape, arch.channels)


def _beats(arch: WindowArch, images: np.ndarray, empty: random.Random) -> list[tuple[int, bool, bool]]:
    """Payload of each beat, and whether it is a pixel's first or last; a few beats are empty without need."""
    pixels = images.reshape(len(images), arch.channels, -1).transpose(0, 2, 1).reshape(-1, arch.channels)
    return pair_beats(pixels.tolist(), lanes=arch.input_lanes, bits=arch.activation_bits, indexed=arch.indexed,
                      extra=lambda: empty.random() < 0.05)


def _unpack(arch: WindowArch, payload: int) -> tuple[list[tuple[int, int, int]], bool]:
    """Pairs (lane, local address, value) of a beat, and `last`."""
    address_bits, bits, lanes = bits_for(arch.lane_positions), arch.activation_bits, arch.lanes
    values, mask = payload >> lanes * address_bits, payload >> lanes * (address_bits + bits)
    pairs = []
    for lane in range(lanes):
        if mask >> lane & 1:
            value = values >> lane * bits & (1 << bits) - 1
            if arch.activation_signed:
                value -= value >> bits - 1 << bits
            pairs.append((lane, payload >> lane * address_bits & (1 << address_bits) - 1, value))
    return pairs, bool(mask >> lanes)


def run_windows(arch: WindowArch, images: np.ndarray, *, seed: int = 0, gap: float = 0.0, wait: int = 0,
                stall: float = 0.0, before: np.ndarray | None = None, reset_after: int = 0,
                limit: int = 20_000) -> WindowLog:
    """Run images through the unit.

    ``gap`` is the chance of a cycle in which no new beat is offered. The consumer is not ready for up to ``wait``
    cycles before every window and, in the middle of one, with the chance ``stall``. ``before`` are images that run for
    ``reset_after`` cycles and are then ended by a cycle of reset; nothing of them is logged.
    """
    dut, dice = Windows(arch), random.Random(seed)
    top, domain = Module(), ClockDomain("sync")
    top.domains.sync = domain
    top.submodules.dut = dut
    log = WindowLog()

    async def bench(ctx):
        if before is not None:
            await play(ctx, before, WindowLog(), reset_after)
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.o.ready, 0)
            ctx.set(domain.rst, 1)
            await ctx.tick()
            ctx.set(domain.rst, 0)
        await play(ctx, images, log, limit)
        missing = len(images) * arch.output_size[0] * arch.output_size[1] - len(log.done)
        assert not missing, f"{missing} windows did not come within {limit} cycles"

    async def play(ctx, images, log, cycles):
        beats, sent, offering = _beats(arch, images, dice), 0, False
        total = len(images) * arch.output_size[0] * arch.output_size[1]
        ready_from, window, held = dice.randint(0, wait), [], None
        idle = 0
        for cycle in range(cycles):
            if not offering and sent < len(beats) and dice.random() >= gap:
                offering, since = True, cycle
                if beats[sent][1]:
                    log.offered.append(cycle)
                ctx.set(dut.i.payload.as_value(), beats[sent][0])
            ctx.set(dut.i.valid, offering)
            ready = cycle >= ready_from and not (stall and dice.random() < stall)
            ctx.set(dut.o.ready, ready)
            _, _, taken, valid, payload = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload.as_value())
            if offering and taken:
                _, is_first, is_last = beats[sent]
                if is_first:
                    log.first.append(cycle)
                else:
                    log.waited |= since != cycle
                if is_last:
                    log.last.append(cycle)
                offering, sent = False, sent + 1
            assert held is None or (valid and payload == held), "o must keep valid and payload until the transfer"
            held = payload if valid and not ready else None
            if valid and len(log.valid) == len(log.done):
                log.valid.append(cycle)
            if valid and ready:
                if not window:
                    log.begun.append(cycle)
                    log.asked.append(ready_from)
                pairs, last = _unpack(arch, payload)
                window.append(pairs)
                if last:
                    log.windows.append(window)
                    log.done.append(cycle)
                    window, ready_from = [], cycle + 1 + dice.randint(0, wait)
            if len(log.done) == total and sent == len(beats):
                # What follows the last window would be a trace of something that is not there.
                idle += 1
                assert not window, "no beat must follow the last window"
                if idle > 20:
                    return

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return log
