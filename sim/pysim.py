"""Amaranth's own simulator: slow, nothing to install, and the reference for the others."""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from amaranth.hdl import Cat, ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from .harness import Harness, Role
from .job import SETTLE, Drive, Job, Outcome, Status, Trace, is_finished
from .payload import chunks

__all__ = ["AmaranthModel"]


class AmaranthModel:
    """A design for Amaranth's simulator; every run elaborates it afresh.

    Parameters
    ----------
    dut : wiring.Component
    probes : sequence of str
        As for `Harness.around`.
    """

    def __init__(self, dut: wiring.Component, *, probes: Sequence[str] = ()):
        self._dut, self._probes = dut, probes
        self.ports = Harness.around(dut, probes=probes).ports

    def run(self, job: Job) -> Outcome:
        """Run the job; all inputs are set as one integer and all outputs read as one, which is what is fastest here."""
        harness = Harness.around(self._dut, probes=self._probes)
        top = Module()
        domain: Any = ClockDomain("sync")
        top.domains.sync = domain
        top.submodules.top = harness
        players = [
            _Player(drive, port.width, source=port.role is Role.SOURCE, steady=port.steady)
            for drive, port in zip(job.drives, self.ports, strict=False)
        ]
        sources = sum(player.source for player in players)
        driven, watched = [domain.rst], []
        for port in self.ports:
            payload, valid, ready = (getattr(harness, f"{port.prefix}__{end}") for end in ("payload", "valid", "ready"))
            if port.role is Role.SOURCE:
                driven += [valid, payload]
                watched += [ready]
            else:
                driven += [ready] if port.role is Role.SINK else []
                watched += [valid, payload] + ([ready] if port.role is Role.PROBE else [])
        probes: list[list[tuple[int, int]]] = [[] for _ in self.ports[len(players) :]]
        result: tuple[Status, int] = (Status.DONE, 0)

        async def testbench(ctx):
            nonlocal result
            resets, idle, cycle = set(job.resets), 0, -1
            if job.has_setup:
                for value in _setup(players):
                    ctx.set(Cat(driven), value << 1)
                    await ctx.tick()
            while True:
                rst = cycle < 0 or cycle in resets
                value, at = int(rst), 1
                for player in players:
                    bits, width = player.drive(running=cycle >= 0, rst=rst)
                    value |= bits << at
                    at += width
                ctx.set(Cat(driven), value)
                _, _, seen = await ctx.tick().sample(Cat(watched))
                moved = False
                for player in players:
                    seen, transfer = player.sample(seen, cycle)
                    moved |= transfer
                for probe, port in zip(probes, self.ports[len(players) :], strict=True):
                    valid, word, ready = seen & 1, seen >> 1 & (1 << port.width) - 1, seen >> port.width + 1 & 1
                    seen >>= port.width + 2
                    if valid and ready and not rst:
                        probe.append((cycle, word))
                cycle += 1
                idle = 0 if moved or cycle == 0 else idle + 1
                if moved and is_finished(job.drives, [player.moved for player in players], sources):
                    result = Status.DONE, cycle
                    return
                if idle >= job.idle_limit:
                    result = Status.DEADLOCK, cycle
                    return
                if cycle >= job.max_cycles:
                    result = Status.OUT_OF_CYCLES, cycle
                    return

        simulator = Simulator(top)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        with simulator.write_vcd(str(job.vcd)) if job.vcd else nullcontext():
            begin = time.perf_counter()
            simulator.run()
            seconds = time.perf_counter() - begin
        transfers = [player.transfers for player in players] + probes
        return Outcome(
            status=result[0],
            cycles=result[1],
            seconds=seconds,
            moved=tuple(player.moved for player in players) + tuple(map(len, probes)),
            traces=tuple(
                Trace(
                    times=np.array([when for when, _ in listed], np.int64),
                    words=_words([] if port.role is Role.SOURCE else [word for _, word in listed], chunks(port.shape)),
                )
                for listed, port in zip(transfers, self.ports, strict=True)
            ),
        )


def _integers(words: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in np.ascontiguousarray(words, "<u4")]


def _words(integers: list[int], count: int) -> np.ndarray:
    text = b"".join(integer.to_bytes(4 * count, "little") for integer in integers)
    return np.frombuffer(text, "<u4").astype(np.uint32).reshape(len(integers), count)


def _setup(players: Sequence["_Player"]) -> Iterator[int]:
    """Bits to set in every cycle before the first reset, that of the reset itself left out."""
    at, idle, words = 0, 0, []
    for player in players:
        quiet, width = player.quiet()
        idle |= quiet << at
        words += [(at, width, word) for word in player.setup]
        at += width
    for low, width, word in words:
        mask = (1 << width) - 1
        yield idle & ~(mask << low) | (word << 1 | 1) << low
    for _ in range(SETTLE):
        yield idle


class _Player:
    """One source or sink, by the rules of `job`."""

    def __init__(self, drive: Drive, width: int, *, source: bool, steady: bool):
        self._words = _integers(drive.words)
        self.setup = [] if drive.setup is None else _integers(drive.setup)
        self._drive, self._width, self.source, self._steady = drive, width, source, steady
        self._state = drive.state
        self._active = False  # offered, or ready
        self.moved = 0
        self.transfers: list[tuple[int, int]] = []

    def _willing(self) -> bool:
        state = self._state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self._state = state
        return state >> 29 >= self._drive.rate

    def quiet(self) -> tuple[int, int]:
        """Bits to set where nothing is offered and nothing accepted, and how many."""
        return (((1 << self._width) - 1) << 1, self._width + 1) if self.source else (0, 1)

    def drive(self, *, running: bool, rst: bool) -> tuple[int, int]:
        """Bits to set for this cycle, and how many: ready, or valid and above it the payload."""
        willing = running and self._willing()
        if not self.source:
            self._active = willing and not rst
            return int(self._active), 1
        if running and rst and self._drive.restart >= 0:
            self.moved = self._drive.restart
        self._active = not rst and self.moved < self._drive.count and (self._active or willing)
        word = (1 << self._width) - 1
        if self._words and (self._active or self._steady):
            word = self._words[min(self.moved, self._drive.count - 1)]
        return int(self._active) | word << 1, self._width + 1

    def sample(self, seen: int, cycle: int) -> tuple[int, bool]:
        """Look at the lowest bits of `seen`; the others, and whether a word that counts was moved."""
        active = self._active and seen & 1
        rest, word = (seen >> 1, 0) if self.source else (seen >> self._width + 1, seen >> 1 & (1 << self._width) - 1)
        if not active or self.moved >= self._drive.count:
            return rest, False
        if self.source:
            self._active = False
        self.moved += 1
        self.transfers.append((cycle, word))
        return rest, True
