"""A pool in Amaranth's simulator, between a producer and a consumer that wait as they like."""

import random
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from amaranth.hdl import Cat, ClockDomain, Module
from amaranth.sim import Simulator

from dovetail.hw.arch import PoolArch
from dovetail.hw.pool import Pool
from dovetail.sw.window import Window, max_pool

__all__ = ["PoolRun", "expected", "geometries", "random_images", "run_pool"]


def geometries(kernels, strides, pads, sizes):
    """The combinations that are pools, as arguments of `PoolArch`; an axis takes at most as much padding as it can."""
    for kernel in kernels:
        for stride in strides:
            for pad in pads:
                for height, width in sizes:
                    rows, columns = (min(pad, span - 1) for span in kernel)
                    if kernel[0] <= height + 2 * rows and kernel[1] <= width + 2 * columns:
                        yield {"height": height, "width": width, "kernel": kernel, "strides": stride,
                               "pads": (rows, columns, rows, columns)}


def random_images(arch, rng, images):
    """Codes of the images: (images, height * width, beats * ports)."""
    low = -1 << arch.value_bits - 1 if arch.value_signed else 0
    size = (images, arch.height * arch.width, arch.beats * arch.ports)
    return rng.integers(low, low + (1 << arch.value_bits), size)


def expected(arch, images):
    """Pooled vectors of all images, by the golden model: (images * pooled, beats * ports)."""
    channels = arch.beats * arch.ports
    window = Window(channels=channels, height=arch.height, width=arch.width, kernel=arch.kernel, strides=arch.strides,
                    pads=arch.pads)
    pooled = max_pool(window, images.transpose(0, 2, 1).reshape(len(images), -1))
    return pooled.reshape(len(images), channels, -1).transpose(0, 2, 1).reshape(-1, channels)


@dataclass
class PoolRun:
    """What was seen: cycles of vectors' tokens (first valid, taken) and beats, the same of pooled ones, their codes."""

    valid: list = field(default_factory=list)
    taken: list = field(default_factory=list)
    beats: list = field(default_factory=list)
    o_valid: list = field(default_factory=list)
    o_taken: list = field(default_factory=list)
    o_beats: list = field(default_factory=list)
    codes: list = field(default_factory=list)


def run_pool(arch: PoolArch, images, *, seed=0, gap=0.0, hold=0.0, starve=0.0, ahead=1, reset_at=None):
    """Send the images' vectors and receive the pooled ones.

    ``gap``: probability of a cycle without a beat. ``hold``: that a token is not taken in a cycle; ``ahead``: most
    tokens that are taken before their vectors are sent. ``starve``: that the consumer does not offer its next token
    yet. With ``reset_at`` other codes come for so many cycles and one, then a reset; what is seen before it
    is forgotten.
    """
    rng = random.Random(seed)
    dut = Pool(arch)
    bits, mask = arch.value_bits, (1 << arch.value_bits) - 1
    vectors = images.reshape(-1, arch.beats, arch.ports).tolist()
    words = [[sum((code & mask) << port * bits for port, code in enumerate(beat)) | (place == arch.beats - 1)
              << arch.ports * bits for place, beat in enumerate(vector)] for vector in vectors]
    noise_bits = arch.ports * bits + 1
    pooled = len(expected(arch, images))
    top = Module()
    top.domains.sync = domain = ClockDomain("sync")
    top.submodules.dut = dut
    seen = Cat(dut.credit.valid, dut.o_credit.ready, dut.o.valid, dut.o.payload.as_value())
    driven = Cat(domain.rst, dut.credit.ready, dut.o_credit.valid, dut.i.valid, dut.i.payload.as_value())
    run = PoolRun()

    async def one(ctx, vectors, cycles):
        """Until all that is expected has left, and a little longer; or for some cycles."""
        offered, token_due, sent, place, over = False, True, 0, 0, 0
        log = PoolRun()
        for cycle in count():
            offered = offered or len(log.o_taken) < pooled and rng.random() >= starve
            if offered and len(log.o_valid) == len(log.o_taken):
                log.o_valid.append(cycle)
            takes = len(log.taken) < len(vectors) and len(log.taken) < sent + ahead and rng.random() >= hold
            sends = sent < len(log.taken) and log.taken[sent] < cycle and rng.random() >= gap
            word = vectors[sent][place] if sends else rng.getrandbits(noise_bits)
            ctx.set(driven, takes << 1 | offered << 2 | sends << 3 | word << 4)
            *_, value = await ctx.tick().sample(seen)
            valid, o_ready, o_valid, payload = value & 1, value >> 1 & 1, value >> 2 & 1, value >> 3
            if valid and token_due:
                log.valid.append(cycle)
            assert valid or not log.valid or len(log.valid) == len(log.taken), "a token stays until it is taken"
            token_due = not valid or takes
            if valid and takes:
                log.taken.append(cycle)
            if sends:
                log.beats.append(cycle)
                place = (place + 1) % arch.beats
                sent += place == 0
            if offered and o_ready:
                log.o_taken.append(cycle)
                offered = False
            if o_valid:
                done = len(log.o_beats) // arch.beats
                assert done < len(log.o_taken) and log.o_taken[done] < cycle, "a vector leaves after its token"
                log.o_beats.append(cycle)
                assert payload >> arch.ports * bits == (len(log.o_beats) % arch.beats == 0), "`last` ends a vector"
                codes = [payload >> port * bits & mask for port in range(arch.ports)]
                log.codes += [code - (code >> bits - 1 << bits) if arch.value_signed else code for code in codes]
            if cycles is not None and cycle == cycles:
                return log
            complete = sent == len(vectors) and len(log.o_beats) == pooled * arch.beats
            over = over + 1 if complete else 0
            if over > 12:
                return log
            assert cycle < 100_000, "it ends"

    async def bench(ctx):
        nonlocal run
        if reset_at is not None:
            noise = [[rng.getrandbits(noise_bits - 1) | (place == arch.beats - 1) << noise_bits - 1
                      for place in range(arch.beats)] for _ in words]
            await one(ctx, noise, reset_at)
            ctx.set(driven, 1)
            await ctx.tick()
        run = await one(ctx, words, None)

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    run.codes = np.array(run.codes, np.int64).reshape(-1, arch.beats * arch.ports)
    return run
