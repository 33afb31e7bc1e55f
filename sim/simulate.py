"""Simulate any component whose ports are streams: words in, words and their times out.

In a test of your own, three lines do::

    from dovetail.sim import simulate

    def test_doubler():
        result = simulate(Doubler(), {"i": [1, 2, 3]}, {"o": 3})
        np.testing.assert_array_equal(result.outputs["o"], [2, 4, 6])

A payload that is a record is a dict of arrays, in and out: ``{"codes": (n, k), "last": (n,)}``. Every engine gives the
same words in the same cycles; CXXRTL is the fast one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from ..hw.errors import SimulationError
from .cxxrtl import CxxrtlModel
from .harness import Port, Role
from .icarus import IcarusModel
from .job import Drive, Job, Model, Outcome, Status
from .payload import chunks, pack, unpack
from .pysim import AmaranthModel
from .verilator import VerilatorModel

__all__ = ["Engine", "Result", "Simulation", "simulate"]


class Engine(Enum):
    """A simulator; the values are the words of the command line."""

    CXXRTL = "cxxrtl"
    AMARANTH = "amaranth"
    ICARUS = "icarus"
    VERILATOR = "verilator"


_MODELS = {
    Engine.CXXRTL: CxxrtlModel,
    Engine.AMARANTH: AmaranthModel,
    Engine.ICARUS: IcarusModel,
    Engine.VERILATOR: VerilatorModel,
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a simulation delivered.

    Attributes
    ----------
    outputs : dict
        For each output asked for, its payloads: an array of integers, or a dict of arrays.
    times : dict of int64 arrays
        For each stream, the cycle of every transfer; cycle 0 ends with the first clock edge after reset.
    probes : dict
        For each probe, (times, payloads) of all its transfers.
    cycles : int
        From the first input accepted to the last output delivered, both included.
    total_cycles : int
        All that were simulated after reset.
    seconds : float
        Time that the clock loop took; of Icarus and Verilator, time that their process took.
    """

    outputs: dict[str, Any]
    times: dict[str, np.ndarray]
    probes: dict[str, tuple[np.ndarray, Any]]
    cycles: int
    total_cycles: int
    seconds: float

    @property
    def cycles_per_second(self) -> float:
        """Simulated clock cycles per second of the clock loop."""
        return self.total_cycles / self.seconds


class Simulation:
    """A design made ready for one simulator, to be run as often as you like, each time from power-up.

    Parameters
    ----------
    dut : wiring.Component
        Clocked by ``sync``; every input is a stream, whose payload is a plain shape, an enum, a struct or array layout.
    engine : Engine
    probes : sequence of str
        Streams inside the design to watch, by submodules and port: ``"layer0.engine.o"``.

    Raises
    ------
    TypeError
        If a port of the design is not a stream.
    ValueError
        If a probe does not exist.
    ToolMissing, ToolFailed
        If a program that the engine needs is missing or fails.
    """

    def __init__(self, dut: wiring.Component, *, engine: Engine = Engine.CXXRTL, probes: Sequence[str] = ()):
        if not isinstance(engine, Engine):
            raise TypeError(f"Engine must be an Engine, not {engine!r}")
        self._model: Model = _MODELS[engine](dut, probes=tuple(probes))

    @classmethod
    def of(cls, model: Model) -> "Simulation":
        """A simulation of a model that was made elsewhere."""
        simulation = cls.__new__(cls)
        simulation._model = model
        return simulation

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, int],
        *,
        stall_seed: int | None = None,
        max_cycles: int | None = None,
        idle_limit: int = 1_000_000,
        reset_at: Iterable[int] = (),
        restart: Mapping[str, int] | None = None,
        vcd: str | Path | None = None,
    ) -> Result:
        """Send words into inputs until the outputs have delivered theirs; see `simulate`."""
        ports = self._model.ports
        sources = [port for port in ports if port.role is Role.SOURCE]
        sinks = [port for port in ports if port.role is Role.SINK]
        _check_names("Inputs", inputs, sources)
        _check_names("Outputs", outputs, sinks)
        _check_names("Restart", restart or {}, sources)
        for name, value in {"idle_limit": idle_limit, "max_cycles": max_cycles}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        if vcd is not None:
            Path(vcd).open("wb").close()    # before minutes of work, and for the engines that would not say
        resets = tuple(sorted(set(reset_at)))
        if resets and resets[0] < 0:
            raise ValueError(f"reset_at must hold cycles from 0, not {resets[0]!r}")
        drives = []
        for port in sources:
            words = pack(port.shape, inputs[port.name]) if port.name in inputs else _none(port)
            again = -1 if restart is None else restart.get(port.name, -1)
            if not -1 <= again <= len(words):
                raise ValueError(f"Restart of {port.name!r} must be in 0..{len(words)}, not {again!r}")
            state, rate = _stalls(port, len(drives), stall_seed)
            drives.append(Drive(words=words, count=len(words), state=state, rate=rate, restart=again))
        for port in sinks:
            count = outputs.get(port.name, 0)
            if count < 0:
                raise ValueError(f"Outputs of {port.name!r} must be at least 0 words, not {count!r}")
            state, rate = _stalls(port, len(drives), stall_seed)
            drives.append(Drive(words=_none(port), count=int(count), state=state, rate=rate))
        if not any(drive.count for drive in drives):
            raise ValueError("Inputs and outputs must not both be without words")
        job = Job(
            drives=tuple(drives),
            resets=resets,
            idle_limit=idle_limit,
            max_cycles=max_cycles or 1 << 62,
            vcd=None if vcd is None else Path(vcd).absolute(),
        )
        outcome = self._model.run(job)
        if outcome.status is not Status.DONE:
            raise SimulationError(_failure(outcome, job, ports))
        return _result(outcome, ports, outputs)


def simulate(
    dut: wiring.Component,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, int],
    *,
    engine: Engine = Engine.CXXRTL,
    probes: Sequence[str] = (),
    stall_seed: int | None = None,
    max_cycles: int | None = None,
    idle_limit: int = 1_000_000,
    reset_at: Iterable[int] = (),
    restart: Mapping[str, int] | None = None,
    vcd: str | Path | None = None,
) -> Result:
    """Simulate a component from power-up, after one clock edge in reset.

    Parameters
    ----------
    dut, engine, probes
        As for `Simulation`, which is what to use to run one design several times.
    inputs : dict
        For each input stream the payloads to send: n integers, or a dict of arrays. One that is not named sends none.
        One that is always valid repeats its last word for ever.
    outputs : dict of int
        For each output stream how many words to wait for. What others deliver, and what comes beyond, is thrown away.
        Without any, the run ends when every input word was accepted.
    stall_seed : int, optional
        Stall every stream at random, each at its own rate (1 to 6 eighths of the cycles); the same on every engine.
        Otherwise sources are valid while they have words, and sinks ready.
    max_cycles : int, optional
        Give up after so many cycles.
    idle_limit : int
        Give up after so many cycles in which no word that counts was moved.
    reset_at : iterable of int
        Cycles in which reset is held; no word is moved in them. Sources then go on with the word that they were at.
    restart : dict of int, optional
        For an input, the index of the word that it goes on with after a reset instead.
    vcd : path, optional
        Write waves there.

    Returns
    -------
    Result

    Raises
    ------
    SimulationError
        If a limit was reached; it says how far each stream came.
    TypeError, ValueError
        If a name or value is wrong.
    ToolMissing, ToolFailed
        If a program that the engine needs is missing or fails.
    """
    return Simulation(dut, engine=engine, probes=probes).run(
        inputs,
        outputs,
        stall_seed=stall_seed,
        max_cycles=max_cycles,
        idle_limit=idle_limit,
        reset_at=reset_at,
        restart=restart,
        vcd=vcd,
    )


def _check_names(what: str, given: Mapping[str, Any], ports: list[Port]) -> None:
    names = [port.name for port in ports]
    for name in given:
        if name not in names:
            raise ValueError(f"{what} must name streams of the design out of {names!r}, not {name!r}")


def _none(port: Port) -> np.ndarray:
    return np.zeros((0, chunks(port.shape)), np.uint32)


def _stalls(port: Port, index: int, seed: int | None) -> tuple[int, int]:
    """State and rate of a stall generator; streams must not stall in step, so each has its own."""
    if seed is None or port.steady:
        return 0, 0
    rng = np.random.default_rng([seed, index])
    return int(rng.integers(1, 1 << 32)), int(rng.integers(1, 7))


def _failure(outcome: Outcome, job: Job, ports: tuple[Port, ...]) -> str:
    verbs = {Role.SOURCE: "accepted", Role.SINK: "delivered"}
    progress = ", ".join(
        f"{port.name!r} {verbs[port.role]} {moved} of {drive.count} words"
        for port, moved, drive in zip(ports, outcome.moved, job.drives, strict=False)
    )
    if outcome.status is Status.DEADLOCK:
        return f"deadlock: no transfer for {job.idle_limit} cycles, at cycle {outcome.cycles}: {progress}"
    return f"not done within {job.max_cycles} cycles: {progress}"


def _result(outcome: Outcome, ports: tuple[Port, ...], outputs: Mapping[str, int]) -> Result:
    values, probes = {}, {}
    times = {port.name: trace.times for port, trace in zip(ports, outcome.traces, strict=True)}
    first, last = 0, outcome.cycles - 1
    starts = [times[port.name][0] for port in ports if port.role is Role.SOURCE and len(times[port.name])]
    ends = [times[port.name][-1] for port in ports if port.role is Role.SINK and len(times[port.name])]
    first, last = min(starts, default=first), max(ends, default=last)
    for port, trace in zip(ports, outcome.traces, strict=True):
        if port.role is Role.PROBE:
            probes[port.name] = trace.times, unpack(port.shape, trace.words)
        elif port.name in outputs:
            values[port.name] = unpack(port.shape, trace.words)
    return Result(
        outputs=values,
        times=times,
        probes=probes,
        cycles=int(last - first) + 1,
        total_cycles=outcome.cycles,
        seconds=outcome.seconds,
    )
