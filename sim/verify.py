"""Run a network's RTL, and hold every output and every cycle against the golden model and the cycle model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..hw.arch import LayerArch, UnrolledArch, ceil_div
from ..hw.memory_map import load_words, memory_map
from ..hw.network import NetworkTop
from ..sw.images import layer_order
from ..sw.plan import Plan, PlannedLayer
from ..sw.positions import pixel_vectors
from ..sw.window import max_pool
from . import golden
from .cycles import LayerCycles, NetworkCycles, layer_cycles, network_cycles
from .simulate import Engine, Result, Simulation
from .time_shares import TimeShares, time_shares

__all__ = [
    "Mismatch", "NetworkSimulation", "Verification", "frames_to_words", "initial_load", "selected_elements",
    "words_to_frames",
]


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The first difference between the RTL and the golden model.

    Members
    -------
    layer : str
        Its name, followed by ``(sums)`` or ``(selection)``: which of the streams between the units differs. The bare
        name is the last layer's, whose output differs although a second run shows nothing before it.
    frame, element : int
        Number of the input, and of the output element in the model's order: of an image, channel by channel.
    cycle : int
        Clock cycle in which the element left that unit. The streams are watched in a second run, without stalls.
    expected, got : int
    """

    layer: str
    frame: int
    element: int
    cycle: int
    expected: int
    got: int

    def __str__(self) -> str:
        return (f"layer {self.layer!r}, frame {self.frame}, element {self.element}, cycle {self.cycle}: "
                f"expected {self.expected}, got {self.got}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Verification:
    """What one simulation showed.

    Members
    -------
    outputs : int64 (n, M)
        Of the RTL.
    mismatches : int
        Elements that differ from the golden model.
    first_mismatch : Mismatch or None
    predicted : NetworkCycles
    measured : int
        Cycles from the first input accepted to the last output delivered, both included.
    measured_per_inference : float
        Steady interval between results, over the second half of the frames; of a single frame, ``measured``.
    layers : tuple of LayerCycles
        What the cycle model says of each layer alone.
    shares : tuple of TimeShares
        Where the multipliers' time goes, in each layer alone.
    stalled : bool
        Random stalls were on: then cycles are not comparable.
    cycles_per_second : float
        Speed of the simulator.
    """

    outputs: np.ndarray
    mismatches: int
    first_mismatch: Mismatch | None
    predicted: NetworkCycles
    measured: int
    measured_per_inference: float
    layers: tuple[LayerCycles, ...]
    shares: tuple[TimeShares, ...]
    stalled: bool
    cycles_per_second: float

    @property
    def passed(self) -> bool:
        """Every output is the golden model's and, without stalls, the run took the cycles predicted."""
        return not self.mismatches and (self.stalled or self.measured == self.predicted.total)


def frames_to_words(codes: np.ndarray, width: int, *, pixels: int = 1) -> dict[str, np.ndarray]:
    """Beats of frames.

    Parameters
    ----------
    codes : int (n, L)
        In the model's order.
    width : int
        Codes a beat.
    pixels : int
        Of an image, which is sent pixel by pixel, each in beats of its own.

    Returns
    -------
    dict
        ``data`` int64 (n * pixels * ceil(L / pixels / width), width), a pixel's last beat filled up with zeros, and
        ``last``, 1 in a frame's last beat.
    """
    frames, length = len(codes), codes.shape[1] // pixels
    beats = ceil_div(length, width)
    padded = np.zeros((frames, pixels, beats * width), np.int64)
    padded[:, :, :length] = pixel_vectors(codes, pixels)
    last = np.zeros((frames, pixels * beats), np.int64)
    last[:, -1] = 1
    return {"data": padded.reshape(-1, width), "last": last.ravel()}


def words_to_frames(words: dict[str, np.ndarray], length: int, *, pixels: int = 1) -> np.ndarray:
    """Results of output beats: the inverse of `frames_to_words`, on words that say what they keep.

    Parameters
    ----------
    words : dict of arrays
        ``data`` (beats, width), ``last`` and ``keep``, a bit for each element.
    length : int
        M, of each pixel.
    pixels : int

    Returns
    -------
    array (n, M * pixels)
        In the model's order.

    Raises
    ------
    ValueError
        If frames have another length: the stream itself is wrong then.
    """
    width = words["data"].shape[1]
    beats = ceil_div(length, width)
    data = words["data"].reshape(-1, pixels, beats * width)[:, :, :length]
    expected_last = np.zeros(pixels * beats, np.int64)
    expected_last[-1] = 1
    keep = np.concatenate([np.full(beats - 1, (1 << width) - 1), [(1 << (length - (beats - 1) * width)) - 1]])
    if ((words["last"].reshape(-1, pixels * beats) != expected_last).any()
            or (words["keep"].reshape(-1, beats) != keep).any()):
        raise ValueError(f"words must be frames of {pixels * length} elements")
    return data.transpose(0, 2, 1).reshape(len(data), -1)


def initial_load(plan: Plan) -> dict[str, dict[str, np.ndarray]]:
    """What has to be sent to a network before its first frame: the contents of the memories that come without.

    Returns
    -------
    dict
        For the stream ``load``, fields of its payload; empty where every memory is initialised.
    """
    words = load_words([memory for memory in memory_map(plan.arch, plan.images) if memory.empty])
    if not words:
        return {}
    return {"load": {name: np.array([word[name] for word in words]) for name in ("memory", "row", "data")}}


class NetworkSimulation:
    """A planned network made ready for one simulator.

    Parameters
    ----------
    plan : Plan
    engine : Engine

    Raises
    ------
    ToolMissing, ToolFailed
        If a program that the engine needs is missing or fails.
    """

    def __init__(self, plan: Plan, *, engine: Engine = Engine.CXXRTL):
        self._plan, self._engine = plan, engine
        self._setup = initial_load(plan)
        self._simulation = Simulation(NetworkTop(plan.arch, plan.images), engine=engine)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Results of input codes, as the RTL has them; `dovetail.boards.host.device.Device` is called alike.

        Parameters
        ----------
        codes : int (n, L)
            In the model's order.

        Returns
        -------
        int64 (n, M)
            In the model's order.

        Raises
        ------
        SimulationError
            If the RTL stops delivering.
        ValueError
            If ``codes`` has another shape, or the RTL marks the ends of its frames wrongly.
        """
        outputs, _ = self._run(codes)
        return outputs

    def verify(self, codes: np.ndarray, *, stall_seed: int | None = None, vcd: Path | None = None) -> Verification:
        """Run frames through the RTL, back to back.

        Parameters
        ----------
        codes : int (n, L)
            Input codes.
        stall_seed : int, optional
            Stall both sides at random.
        vcd : path, optional
            Write waves there.

        Returns
        -------
        Verification

        Raises
        ------
        SimulationError
            If the RTL stops delivering.
        ValueError
            If ``codes`` has another shape, or the RTL marks the ends of its frames wrongly.
        """
        plan = self._plan
        results = golden.run(plan.network, codes)
        expected = results[-1].outputs
        predicted = network_cycles(plan, results, watch=True)
        layers = tuple(layer_cycles(planned, result) for planned, result in zip(plan.layers, results, strict=True))
        shares = tuple(map(time_shares, plan.layers, results, layers))
        beats = plan.arch.output_beats
        outputs, run = self._run(codes, stall_seed=stall_seed, vcd=vcd)
        different = outputs != expected
        mismatch = None
        if different.any():
            mismatch = self._locate(codes, results) or _last_mismatch(plan, outputs, expected, run.times["o"])
        ends = run.times["o"][beats - 1::beats]
        start = (len(ends) - 1) // 2
        interval = float(ends[-1] - ends[start]) / (len(ends) - 1 - start) if len(ends) > 1 else float(run.cycles)
        return Verification(
            outputs=outputs, mismatches=int(different.sum()), first_mismatch=mismatch, predicted=predicted,
            measured=run.cycles, measured_per_inference=interval,
            layers=layers, shares=shares,
            stalled=stall_seed is not None, cycles_per_second=run.cycles_per_second)

    def _run(self, codes: np.ndarray, **options: Any) -> tuple[np.ndarray, Result]:
        arch = self._plan.arch
        last = arch.layers[-1]
        if codes.ndim != 2 or codes.shape[1] != arch.input_codes:
            raise ValueError(f"codes must have the shape (n, {arch.input_codes}), not {codes.shape!r}")
        run = self._simulation.run(
            {"i": frames_to_words(codes, arch.input_width, pixels=arch.input_pixels)},
            {"o": arch.output_beats * len(codes)}, setup=self._setup, **options)
        return words_to_frames(run.outputs["o"], last.select.kernels, pixels=last.pixels), run

    def _locate(self, codes: np.ndarray, results: Sequence[golden.LayerResult]) -> Mismatch | None:
        """The first layer whose elements differ, by watching the streams between the layers."""
        plan = self._plan
        sums = [f"layer{number}.engine.o" for number in range(len(plan.layers))]
        codes_out = [f"layer{number}.select.o" for number in range(len(plan.layers))]
        watched = Simulation(NetworkTop(plan.arch, plan.images), engine=self._engine, probes=[*sums, *codes_out])
        run = watched.run({"i": frames_to_words(codes, plan.arch.input_width, pixels=plan.arch.input_pixels)},
                          {"o": plan.arch.output_beats * len(codes)}, setup=self._setup)
        for planned, result, of_engine, of_select in zip(plan.layers, results, sums, codes_out, strict=True):
            found = _sums_mismatch(planned, result, *run.probes[of_engine])
            found = found or _beats_mismatch(planned, result, *run.probes[of_select])
            if found is not None:
                return found
        return None


def _sums_mismatch(
    planned: PlannedLayer, result: golden.LayerResult, times: np.ndarray, words: dict[str, np.ndarray],
) -> Mismatch | None:
    arch = planned.arch.engine
    order, sums, pixels = layer_order(planned.packing, arch), result.sums, planned.layer.vectors
    if isinstance(arch, UnrolledArch) and arch.pooled and planned.layer.pool is not None:
        images = sums.transpose(0, 2, 1).reshape(len(sums), -1)
        pixels = planned.arch.pixels
        sums = pixel_vectors(max_pool(planned.layer.pool, images), pixels)
    vectors = min(len(times) // arch.beats, len(sums) * pixels)
    got = words["values"][:vectors * arch.beats].reshape(vectors, *order.shape)
    sums = sums.reshape(-1, planned.layer.kernels)[:vectors]
    expected = np.where(order >= 0, sums[:, order], got)
    where = np.argwhere(got != expected)
    if not len(where):
        return None
    vector, beat, port = where[0].tolist()
    frame, pixel = divmod(vector, pixels)
    return Mismatch(layer=f"{planned.layer.name} (sums)", frame=frame,
                    element=int(order[beat, port]) * pixels + pixel,
                    cycle=int(times[vector * arch.beats + beat]), expected=int(expected[vector, beat, port]),
                    got=int(got[vector, beat, port]))


def selected_elements(
    arch: LayerArch, times: np.ndarray, words: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """What left a select unit, and when.

    Parameters
    ----------
    arch : LayerArch
    times : int64 (beats,)
    words : dict of arrays
        The beats on the unit's output.

    Returns
    -------
    outputs, cycles : int64 (n, M * pixels)
        Of all whole frames, in the model's order. What was never sent is zero, its cycle that of its vector's end.
    """
    kernels, lanes = arch.select.kernels, arch.select.lanes
    ends = np.nonzero(words["last"])[0]
    vectors = len(ends) // arch.pixels * arch.pixels
    vector_of = np.cumsum(words["last"]) - words["last"]
    outputs = np.zeros((vectors, kernels), np.int64)
    cycles = np.repeat(times[ends[:vectors], np.newaxis], kernels, axis=1)
    for lane in range(lanes):
        taken = (words["mask"] >> lane & 1 == 1) & (vector_of < vectors)
        element = words["address"][taken] * lanes + lane
        outputs[vector_of[taken], element] = words["values"][taken, lane]
        cycles[vector_of[taken], element] = times[taken]
    shape = vectors // arch.pixels, arch.pixels, kernels
    outputs, cycles = (found.reshape(shape).transpose(0, 2, 1).reshape(shape[0], -1) for found in (outputs, cycles))
    return outputs, cycles


def _beats_mismatch(
    planned: PlannedLayer, result: golden.LayerResult, times: np.ndarray, words: dict[str, np.ndarray],
) -> Mismatch | None:
    got, when = selected_elements(planned.arch, times, words)
    where = np.argwhere(got != result.outputs[:len(got)])
    if not len(where):
        return None
    frame, element = where[0].tolist()
    return Mismatch(layer=f"{planned.layer.name} (selection)", frame=frame, element=element,
                    cycle=int(when[frame, element]), expected=int(result.outputs[frame, element]),
                    got=int(got[frame, element]))


def _last_mismatch(plan: Plan, outputs: np.ndarray, expected: np.ndarray, times: np.ndarray) -> Mismatch:
    last = plan.arch.layers[-1]
    frame, element = np.argwhere(outputs != expected)[0].tolist()
    kernel, pixel = divmod(element, last.pixels)
    beat = (frame * last.pixels + pixel) * last.select.words + kernel // last.select.width
    return Mismatch(layer=plan.layers[-1].layer.name, frame=frame, element=element, cycle=int(times[beat]),
                    expected=int(expected[frame, element]), got=int(outputs[frame, element]))
