"""Exact cycle model of a network, and of each of its layers alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..hw.arch import STAGE_LATENCY, SelectKind, UnrolledArch
from ..sw.plan import Plan, PlannedLayer
from ..sw.positions import pixel_vectors
from .engine_cycles import EngineCycles, VectorTimes, lane_slots
from .golden import LayerResult, run
from .pool_cycles import PoolCycles
from .select_cycles import SelectCycles, SentWords, sent_words
from .unit_times import States, UnitWork, states
from .unrolled_cycles import UnrolledCycles
from .window_cycles import WindowCycles

__all__ = ["LayerCycles", "NetworkCycles", "cycles_per_inference", "layer_cycles", "network_cycles"]

#: Registers of ``hw.requantise.Requantise``, one stage.
REQUANTISE_LATENCY = STAGE_LATENCY


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkCycles:
    """When frames pass the network's border; cycle 0 is the first clock edge after reset.

    Members
    -------
    total : int
        From the first input beat to the last output beat, both included.
    first_input, last_output : int64 (n,)
        Per frame: cycle of its first beat in, and of its last beat out.
    works : tuple of UnitWork
        What every unit did, in the order of the pipeline; empty where nobody asked.
    """

    total: int
    first_input: np.ndarray
    last_output: np.ndarray
    works: tuple[UnitWork, ...] = ()

    @property
    def per_inference(self) -> float:
        """Steady interval between results: over the second half of the frames, where the pipeline is full."""
        ends = self.last_output
        if len(ends) < 2:
            return float(self.total)
        start = (len(ends) - 1) // 2
        return float(ends[-1] - ends[start]) / (len(ends) - 1 - start)

    @property
    def run(self) -> tuple[States, ...]:
        """Cycles of every unit in each state, from the first input beat to the last output beat."""
        return states(self.works, int(self.first_input[0]), int(self.last_output[-1]))

    @property
    def steady_frames(self) -> range:
        """Frames whose results come while the pipeline is full from end to end: after the first result, and before the
        last frame begins to enter; the second half of these. Empty where there are too few frames."""
        last = int(np.searchsorted(self.last_output, self.first_input[-1])) - 1
        return range(max(last, 0) // 2 + 1, last + 1)

    @property
    def steady(self) -> tuple[States, ...]:
        """The same from the result in front of the ``steady_frames`` to the last one of these; over the whole run where
        there are none."""
        frames = self.steady_frames
        if not frames:
            return self.run
        return states(self.works, int(self.last_output[frames.start - 1]) + 1, int(self.last_output[frames.stop - 1]))


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """What one layer does alone, fed and drained without waiting, averaged over the inputs.

    Members
    -------
    name, mode : str
    cycles_per_inference : float
    multipliers : int
        Of an unrolled layer its weights that are not zero, each of which multiplies a code a cycle.
    useful_multiplications : float
        Products of a non-zero weight and a selected activation (in the dense modes: every activation), per inference.
    """

    name: str
    mode: str
    cycles_per_inference: float
    multipliers: int
    useful_multiplications: float

    @property
    def utilisation(self) -> float:
        """Part of the multipliers' cycles that compute a useful product."""
        return self.useful_multiplications / (self.multipliers * self.cycles_per_inference)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Frame:
    """What decides the times of one layer for one frame.

    Members
    -------
    pairs : int (height, width) or None
        Of each pixel that arrives; None where windows do not depend on it.
    slots : list (vectors) of lists (F,) of lists (P,)
        See `lane_slots`; none of an unrolled layer.
    words : list (pixels) of SentWords
    """

    pairs: np.ndarray | None
    slots: list[list[list[int]]]
    words: list[SentWords]


class _LayerModel:
    """The units of one layer, and of those behind it, followed together.

    Announce a frame with ``frame``. Then ask ``ready`` when the next vector's (or pixel's) first beat can transfer and
    call ``push``, for each of the frame's: all that it lets go goes on at once, through all layers. What a unit waits
    for is always something earlier in the order of vectors, so that it is known by then.
    """

    def __init__(self, planned: PlannedLayer, following: "_LayerModel | None" = None, *, watch: bool = False):
        arch = planned.arch
        self._arch, self._following, self._watch = arch, following, watch
        self._join_work, self._window_work, self._engine_work, self._pool_work, self._select_work = (
            UnitWork(layer=planned.layer.name, unit=unit) for unit in ("join", "window", "engine", "pool", "select"))
        #: What stores nothing and lets the selected vectors pass: the join behind, or the network's output.
        self.passing = UnitWork(layer=None, unit="output") if following is None else following._join_work
        self._latency = REQUANTISE_LATENCY * len(arch.stages)
        self._windows = None if arch.window is None else WindowCycles(arch.window)
        pool, self._select = arch.pool, SelectCycles(arch.select)
        if isinstance(arch.engine, UnrolledArch):
            self._engine = UnrolledCycles(arch.engine, pool if arch.engine.pooled else None)
            pool = None if arch.engine.pooled else pool
        else:
            self._engine = EngineCycles(arch.engine)
        self._pool = None if pool is None else PoolCycles(pool)
        self._arrived = 0       # vectors of those that are joined
        self._slots: Iterator[list[list[int]]] = iter(())
        self._words: Iterator[SentWords] = iter(())
        self._window_end = -1   # cycle in which the last beat so far left the windows
        self.last_beat = -1     # cycle in which the last beat so far left the layer

    @property
    def works(self) -> list[UnitWork]:
        """What its units do, where it is watched."""
        there = (self._arch.joined > 1, self._windows is not None, True, self._pool is not None, True)
        works = self._join_work, self._window_work, self._engine_work, self._pool_work, self._select_work
        return [work for work, is_there in zip(works, there, strict=True) if is_there]

    def frame(self, frame: _Frame) -> None:
        """Announce the next frame."""
        self._slots, self._words = iter(frame.slots), iter(frame.words)
        if self._windows is not None and self._arch.window is not None:
            pairs = frame.pairs
            self._windows.image(np.zeros((self._arch.window.height, self._arch.window.width), np.int64)
                                if pairs is None else pairs)

    def ready(self) -> int:
        """First cycle in which the next vector's first beat can transfer; a vector, once begun, does not wait."""
        if self._windows is not None:
            return self._windows.ready()
        return 0 if self._arrived else self._engine.ready()

    def push(self, first: int, last: int) -> None:
        """Account for the next vector, or pixel, whose first and last beats transferred in these cycles."""
        if self._windows is not None:
            for _ in self._windows.pixel(first=first, last=last):
                window = self._windows.window(self._engine.ready())
                if self._watch:
                    self._window_work.work(max(window.come, self._window_end) + 1, window.valid - 1)
                    self._window_work.wait(window.valid, window.first - 1)
                    self._window_work.work(window.first, window.last)
                    self._window_end = window.last
                self._vector(window.last)       # a beat, if unrolled
            return
        self._arrived = (self._arrived + 1) % self._arch.joined
        if not self._arrived:
            self._vector(last)

    def _vector(self, last: int) -> None:
        """The engine has the next vector whole."""
        if isinstance(self._engine, UnrolledCycles):
            if self._watch:
                self._engine_work.work(last, last)
            for times in self._engine.vector(last, token=self._token):
                self._drained(times)
        else:
            self._drained(self._engine.vector(next(self._slots), last_input=last, token=self._token()))

    def _token(self) -> int:
        """First cycle in which the token for the engine's next vector is valid."""
        token = self._select.token()
        return token if self._pool is None else self._pool.token(token)

    def _drained(self, times: VectorTimes) -> None:
        """The next vector leaves the engine."""
        pool = self._pool
        last_beat = times.last_beat + self._latency
        if self._watch:
            self._engine_work.wait(times.asked, times.token - 1)
            for first, last in times.busy:
                self._engine_work.work(first, last)
        if pool is None:
            self._emit(times.token, last_beat)
            return
        if self._watch:
            for first, last in times.beats:
                self._pool_work.work(first + self._latency, last + self._latency)
        pooled = pool.vector(taken=times.token, first_beat=times.first_beat + self._latency, last_beat=last_beat)
        if pooled is not None:
            self._emit(pooled.taken, pooled.last_beat)
        while pool.is_padding:
            pooled = pool.pad(self._select.token())
            if self._watch:
                asked, taken, last = pool.padded
                self._pool_work.wait(asked, taken - 1)
                self._pool_work.work(taken, last)
            if pooled is not None:
                self._emit(pooled.taken, pooled.last_beat)

    def _emit(self, taken: int, last_beat: int) -> None:
        """The select unit has the next vector whole."""
        behind = self._following
        sent = self._select.emit(next(self._words), taken=taken, last_beat=last_beat,
                                 ready=0 if behind is None else behind.ready())
        if self._watch:
            self._select_work.work(max(last_beat, self.last_beat) + 1, sent.valid - 1)
            self._select_work.wait(sent.valid, sent.first - 1)
            self._select_work.work(sent.first, sent.last)
            self.passing.wait(sent.valid, sent.first - 1)
            self.passing.work(sent.first, sent.last)
        self.last_beat = sent.last
        if behind is not None:
            behind.push(sent.first, sent.last)


def _chain(layers: Sequence[PlannedLayer], *, watch: bool) -> list[_LayerModel]:
    """The models of layers one behind the other."""
    models: list[_LayerModel] = []
    for planned in reversed(layers):
        models.insert(0, _LayerModel(planned, models[0] if models else None, watch=watch))
    return models


class _Frames:
    """Works out a layer's frames from the golden model's results."""

    def __init__(self, planned: PlannedLayer, result: LayerResult):
        self._planned, self._result = planned, result
        self._rows = planned.rows
        self._constant: list[list[list[int]]] | None = None
        arch = planned.arch.engine
        if isinstance(arch, UnrolledArch):
            self._constant = []
        elif not arch.indexed:
            # Lanes with the same slots go in step for ever: one of each kind is enough.
            slots = lane_slots(arch, np.ones((1, arch.positions), bool), self._rows)[0]
            self._constant = [np.unique(slots, axis=1).tolist()] * planned.layer.vectors

    def __getitem__(self, number: int) -> _Frame:
        planned, arch = self._planned, self._planned.arch
        outputs = self._result.outputs[number:number + 1]
        taken = self._result.inputs[number:number + 1] != 0
        slots, pairs = self._constant, None
        if slots is None and not isinstance(arch.engine, UnrolledArch):
            vectors = taken if planned.layer.window is None else planned.layer.window.gather(taken)[0]
            slots = lane_slots(arch.engine, vectors[:, planned.order], self._rows).tolist()
            if arch.window is not None:
                pairs = np.count_nonzero(taken.reshape(-1, arch.window.height, arch.window.width), axis=0)
        select = arch.select
        every = select.kind is SelectKind.ALL or select.losers      # a winner is never zero
        sent = pixel_vectors(np.ones_like(outputs, bool) if every else outputs != 0, arch.pixels)
        return _Frame(pairs=pairs, slots=slots or [], words=sent_words(select, sent.reshape(arch.pixels, -1)))


def network_cycles(plan: Plan, results: Sequence[LayerResult], *, watch: bool = False) -> NetworkCycles:
    """Predict every frame's times, for a source that is always valid and a sink that is always ready.

    Parameters
    ----------
    plan : Plan
    results : sequence of LayerResult
        The golden model's, one a layer, n inputs each.
    watch : bool
        Note what every unit does, too.

    Returns
    -------
    NetworkCycles
    """
    models = _chain(plan.layers, watch=watch)
    source = UnitWork(layer=None, unit="input")
    works = source, *(work for model in models for work in model.works), models[-1].passing
    frames = [_Frames(planned, result) for planned, result in zip(plan.layers, results, strict=True)]
    count, arrivals = len(results[0].inputs), plan.arch.input_pixels
    beats = plan.arch.input_beats // arrivals
    first_input, last_output = np.zeros(count, np.int64), np.zeros(count, np.int64)
    sent = -1       # cycle of the last beat of input
    for number in range(count):
        for work in works:
            work.frame = number
        for model, of_layer in zip(models, frames, strict=True):
            model.frame(of_layer[number])
        for arrival in range(arrivals):
            first = models[0].ready()
            if not arrival:
                first_input[number] = first
            if watch:
                source.wait(sent + 1, first - 1)
                source.work(first, first + beats - 1)
            sent = first + beats - 1
            models[0].push(first, sent)
        last_output[number] = models[-1].last_beat
    total = int(last_output[-1] - first_input[0]) + 1
    return NetworkCycles(total=total, first_input=first_input, last_output=last_output, works=works if watch else ())


def cycles_per_inference(plan: Plan, codes: np.ndarray) -> float:
    """Steady interval between results on input codes (n, L), predicted exactly."""
    return network_cycles(plan, run(plan.network, codes)).per_inference


def layer_cycles(planned: PlannedLayer, result: LayerResult) -> LayerCycles:
    """The interval that one layer sustains alone, each vector or pixel coming whole as soon as it can: all inputs pass
    twice, the second time measured.

    Parameters
    ----------
    planned : PlannedLayer
    result : LayerResult
        The golden model's of this layer.

    Returns
    -------
    LayerCycles
    """
    model, frames, ends = _LayerModel(planned), _Frames(planned, result), []
    count = len(result.inputs)
    for _ in range(2):
        for number in range(count):
            model.frame(frames[number])
            for _ in range(planned.arch.arrivals):
                first = model.ready()
                model.push(first, first)
            ends.append(model.last_beat)
    return LayerCycles(
        name=planned.layer.name, mode=planned.arch.mode.value, multipliers=planned.arch.engine.multipliers,
        cycles_per_inference=(ends[-1] - ends[count - 1]) / count,
        useful_multiplications=_useful(planned, result))


def _useful(planned: PlannedLayer, result: LayerResult) -> float:
    """Products per inference of a weight that is not zero and a position that is selected."""
    weights = (planned.layer.weights != 0).sum(axis=0)
    selected = result.inputs != 0 if planned.arch.engine.indexed else np.ones_like(result.inputs, bool)
    window = planned.layer.window
    if window is None:
        return float((selected @ weights).mean())
    if not planned.arch.engine.indexed:
        return float(weights.sum() * planned.layer.vectors)     # padding included, which is multiplied, too
    return float(np.mean([(window.gather(one[np.newaxis])[0] @ weights).sum() for one in selected]))
