"""Architecture records: every fact about a generated network, free of Amaranth.

The records say *what is built*; the planner in ``sw`` chooses them, the hardware in ``hw`` obeys them and the cycle
model in ``sim`` reads the same numbers. Terms are those of ``docs/architecture.md``.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import ClassVar

from .adders import AdderGraph

__all__ = [
    "STAGE_LATENCY", "AccumulatorKind", "EngineArch", "EngineImages", "EngineKind", "LayerArch", "LayerImages",
    "MemoryKind", "Mode", "NetworkArch", "PoolArch", "PoolAxis", "ScaleArch", "SelectArch", "SelectImages",
    "SelectKind", "StageImages", "ThresholdArch", "UnrolledArch", "UnrolledImages", "WindowArch", "bits_for",
    "ceil_div",
]

#: Cycles of one stage of requantisation.
STAGE_LATENCY = 4


def ceil_div(a: int, b: int) -> int:
    """Quotient of non-negative ``a`` by positive ``b``, rounded up."""
    return -(-a // b)


def bits_for(count: int) -> int:
    """Bits that number ``count`` things from zero; at least one, so that no signal has zero width."""
    return max(1, (count - 1).bit_length())


def _check_whole(record: object, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}")


def _check_positive(record: object, *names: str) -> None:
    _check_whole(record, *names)
    for name in names:
        if getattr(record, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(record, name)!r}")


def _check_spans(record: object) -> None:
    """Check ``kernel``, ``strides`` and ``pads`` of a unit that slides windows over an image."""
    for name, count, least in (("kernel", 2, 1), ("strides", 2, 1), ("pads", 4, 0)):
        values = getattr(record, name)
        if not isinstance(values, tuple) or len(values) != count or any(type(value) is not int for value in values):
            raise TypeError(f"{name} must be a tuple of {count} integers, not {values!r}")
        if min(values) < least:
            raise ValueError(f"{name} must be at least {least} each, not {values!r}")


def _format(low: int, high: int) -> tuple[int, bool]:
    """Width, and whether it is signed, of the narrowest code that holds ``low``, ``high``, zero and one."""
    bits = max(high, 1).bit_length()
    return (max(bits, (-low - 1).bit_length()) + 1, True) if low < 0 else (bits, False)


class Mode(Enum):
    """How a layer meets its weights and its input."""

    DENSE = "dense"
    SPARSE_DENSE = "sparse-dense"
    SPARSE_SPARSE = "sparse-sparse"


class EngineKind(Enum):
    """What computes a layer's sums."""

    FOLDED = "folded"          # multipliers and memories: `EngineArch`
    UNROLLED = "unrolled"      # constants in logic, a vector a cycle: `UnrolledArch`


class AccumulatorKind(Enum):
    """What an accumulator file is made of."""

    LUT_RAM = "lut-ram"        # asynchronous read (ECP5, Xilinx)
    BLOCK_RAM = "block-ram"    # synchronous read with forwarding (iCE40, deep files)


class MemoryKind(Enum):
    """What a memory is made of."""

    AUTO = "auto"              # left to synthesis
    LUT_RAM = "lut-ram"        # look-up tables: LUT RAM or, where nothing is written, logic
    REGISTERS = "registers"    # flip-flops or, where nothing is written, logic: on devices without LUT RAM
    BLOCK_RAM = "block-ram"
    SPRAM = "spram"            # single port, large, without initial contents (iCE40 UltraPlus): loaded before use


class SelectKind(Enum):
    """Which elements of a finished vector are handed to the next layer."""

    ALL = "all"                # every element, zeros included
    NONZERO = "nonzero"        # zero skipping
    GLOBAL = "global"          # k-WTA by histogram and threshold, for long vectors
    LOCAL = "local"            # k-WTA by bit-serial threshold search in registers, for short vectors


@dataclass(frozen=True, kw_only=True)
class EngineArch:
    """One multiply-accumulate engine: P lanes x B banks, F folds one after the other.

    Members
    -------
    positions : int
        Length L of the input vector. Position ``i`` belongs to lane ``i % lanes`` and is local address
        ``i // lanes`` there.
    lanes, banks, folds : int
        P, S_par and F: ``lanes * banks`` multipliers; fold ``f`` computes the kernels of sets
        ``f * banks .. (f + 1) * banks - 1``.
    set_size : int
        N, the kernels that share one bank in one fold; a KID is ``0 .. set_size - 1``.
    columns : int
        Accumulators of one file that a single drain slot reads (a power of two); KID ``k`` is in column
        ``k % columns``.
    drain_width : int
        R, the sums that leave the engine in one cycle. Divides ``columns``, or is a multiple of it.
    weight_bits, activation_bits, sum_bits : int
        Widths of a weight, an input code and an accumulator.
    activation_signed : bool
        Input codes are two's complement.
    indexed : bool
        Input pairs carry their position (k-WTA, zero skipping); otherwise every position arrives, in order.
    capacity : int
        Most pairs of one vector that one lane stores.
    lane_rows : int
        Rows of the augmented weight tensor (AWT) that one lane stores, all folds together.
    row_table : bool
        The number of rows differs from position to position and is looked up; otherwise it is one.
    most_rows : int
        Most rows of one position in one fold.
    accumulator : AccumulatorKind
        What the accumulator files are made of.
    own_addresses : bool
        Every lane has a local address of its own in a beat (windows of a convolution); otherwise one address serves
        all lanes.
    soft : int
        Multipliers that are made of look-up tables; what the others become is left to synthesis, which takes
        multipliers of the device where it has any. The last banks' are soft, and of the bank where they begin the last
        lanes', so that no lane has more than one more than another.
    bias_bits : int or None
        Width of a bias, two's complement; None for that of a sum.
    weight_memory : MemoryKind
        What the AWT is kept in. SPRAM is for loadable networks only: it is empty until it is loaded.
    """

    positions: int
    lanes: int
    banks: int
    folds: int
    set_size: int
    columns: int = 2
    drain_width: int = 1
    weight_bits: int = 8
    activation_bits: int = 8
    activation_signed: bool = False
    sum_bits: int = 24
    indexed: bool = True
    capacity: int
    lane_rows: int
    row_table: bool = False
    most_rows: int = 1
    accumulator: AccumulatorKind = AccumulatorKind.LUT_RAM
    own_addresses: bool = False
    soft: int = 0
    bias_bits: int | None = None
    weight_memory: MemoryKind = MemoryKind.AUTO

    def __post_init__(self) -> None:
        _check_positive(self, "positions", "lanes", "banks", "folds", "set_size", "columns", "drain_width",
                        "weight_bits", "activation_bits", "sum_bits", "capacity", "lane_rows", "most_rows")
        if self.columns & (self.columns - 1):
            raise ValueError(f"columns must be a power of two, not {self.columns!r}")
        if self.drain_width % self.columns and self.columns % self.drain_width:
            raise ValueError(f"drain_width must divide columns or be a multiple of it, not {self.drain_width!r}")
        if self.lanes > self.positions:
            raise ValueError(f"lanes must be at most positions ({self.positions}), not {self.lanes!r}")
        if self.weight_bits < 2:
            raise ValueError(f"weight_bits must be at least 2, not {self.weight_bits!r}")
        _check_whole(self, "soft")
        if not 0 <= self.soft <= self.multipliers:
            raise ValueError(f"soft must be 0 to {self.multipliers}, not {self.soft!r}")
        if self.bias_bits is not None:
            _check_whole(self, "bias_bits")
            if not 1 <= self.bias_bits <= self.sum_bits:
                raise ValueError(f"bias_bits must be 1 to sum_bits ({self.sum_bits}), not {self.bias_bits!r}")

    @property
    def multipliers(self) -> int:
        return self.lanes * self.banks

    def is_soft(self, lane: int, bank: int) -> bool:
        """Whether this pair's multiplier is made of look-up tables."""
        return bank * self.lanes + lane >= self.multipliers - self.soft

    @property
    def bias_width(self) -> int:
        """Bits of a stored bias."""
        return self.sum_bits if self.bias_bits is None else self.bias_bits

    @property
    def lane_positions(self) -> int:
        """Local addresses of a lane."""
        return ceil_div(self.positions, self.lanes)

    @property
    def group(self) -> int:
        """KIDs per bank that are captured together and leave together."""
        return max(self.columns, self.drain_width)

    @property
    def kids(self) -> int:
        """Accumulators per bank and fold: ``set_size`` rounded up to whole groups."""
        return ceil_div(self.set_size, self.group) * self.group

    @property
    def kid_bits(self) -> int:
        return bits_for(self.kids)

    @property
    def slot_bits(self) -> int:
        """One slot of an AWT row: weight in the low bits, KID above."""
        return self.weight_bits + self.kid_bits

    @property
    def drain_slots(self) -> int:
        """Slots that drain one fold: words of one accumulator column and half."""
        return self.kids // self.columns

    @property
    def index_bits(self) -> int:
        """Bits of ``fold * lane_positions + local address``."""
        return bits_for(self.folds * self.lane_positions)

    @property
    def groups(self) -> int:
        """Groups that one fold drains."""
        return self.kids // self.group

    @property
    def group_slots(self) -> int:
        """Drain slots that capture one group in every bank."""
        return self.group // self.columns

    @property
    def group_beats(self) -> int:
        """Output beats that empty one captured group."""
        return self.banks * (self.group // self.drain_width)

    @property
    def group_period(self) -> int:
        """Cycles from the first drain slot of one group to that of the next."""
        return self.group_beats + self.group_slots - 1

    @property
    def fold_beats(self) -> int:
        return self.groups * self.group_beats

    @property
    def beats(self) -> int:
        """Output beats of one vector, each of ``drain_width`` sums."""
        return self.folds * self.fold_beats


@dataclass(frozen=True, kw_only=True)
class UnrolledArch:
    """An engine whose weights are wires: every sum of a window in one beat, a window a cycle.

    Members
    -------
    positions : int
        L, the taps of a window of one channel; each is a lane of its own.
    kernels : int
        M.
    nonzeros : int
        Weights that are not zero: what would be multipliers.
    drain_width : int
        R, the sums that leave the engine in one cycle, at most M: port ``p`` of beat ``b`` is kernel ``b * R + p``.
    activation_bits, activation_signed : int, bool
        Shape of an input code.
    value_bits : int
        Width of a sum without its bias, two's complement.
    sum_bits : int
        Width of a sum.
    stage_depth, latency : int
        Levels of adders between registers, and cycles from a window to its sums: see `dovetail.hw.unrolled.Unrolled`.
    vectors : int
        Vectors that the serialiser holds, the one that is sent included.
    pooled : bool
        The layer's pool takes the sums as they come, all in one beat, in front of the bias and the stages. That is the
        same as pooling codes where every stage rises, or stays, with the sum.
    """

    positions: int
    kernels: int
    nonzeros: int
    drain_width: int
    activation_bits: int
    activation_signed: bool = False
    value_bits: int
    sum_bits: int
    stage_depth: int = 1
    latency: int
    vectors: int = 2
    pooled: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, "positions", "kernels", "nonzeros", "drain_width", "activation_bits", "value_bits",
                        "sum_bits", "stage_depth", "latency", "vectors")
        if self.drain_width > self.kernels:
            raise ValueError(f"drain_width must be at most kernels ({self.kernels}), not {self.drain_width!r}")
        if self.value_bits > self.sum_bits:
            raise ValueError(f"value_bits must be at most sum_bits ({self.sum_bits}), not {self.value_bits!r}")

    #: Cycles from the token that the serialiser takes to the vector's first beat.
    token_latency: ClassVar[int] = 3

    @property
    def lanes(self) -> int:
        """A tap each."""
        return self.positions

    @property
    def indexed(self) -> bool:
        """Every position arrives."""
        return False

    @property
    def own_addresses(self) -> bool:
        """It takes windows."""
        return True

    @property
    def multipliers(self) -> int:
        """Products a cycle."""
        return self.nonzeros

    @property
    def beats(self) -> int:
        """Output beats of one vector, each of ``drain_width`` sums."""
        return ceil_div(self.kernels, self.drain_width)


@dataclass(frozen=True, kw_only=True)
class ScaleArch:
    """``clamp((x * multiplier + offset) >> shift, low, high)`` for each kernel.

    Members
    -------
    multiplier_bits, multiplier_signed : int, bool
        Shape of a multiplier; 0 bits mean 1 for all kernels.
    offset_bits : int
        Width of a kernel's own offset, two's complement; 0 bits mean ``offset`` for all kernels.
    offset, shift, low, high : int
    ties_to_even : bool
        Where the bits that are shifted out are all zero and the quotient is odd, it is one less.
    """

    multiplier_bits: int
    multiplier_signed: bool = False
    offset_bits: int = 0
    offset: int = 0
    shift: int
    low: int
    high: int
    ties_to_even: bool = False

    def __post_init__(self) -> None:
        _check_whole(self, "multiplier_bits", "offset_bits", "offset", "shift", "low", "high")
        for name in ("multiplier_bits", "offset_bits", "shift"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)!r}")
        if self.offset_bits and self.offset:
            raise ValueError(f"offset must be 0 where kernels have their own, not {self.offset!r}")
        if self.low > self.high:
            raise ValueError(f"low must be at most high ({self.high!r}), not {self.low!r}")

    @property
    def code_format(self) -> tuple[int, bool]:
        """Width of a code, and whether it is signed."""
        return _format(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class ThresholdArch:
    """``low + step * (how many of a kernel's thresholds are at most x)``: ``count`` comparators a port.

    A threshold is one bit wider than ``x`` and of the same signedness: one beyond the greatest ``x`` is never reached.
    """

    count: int
    low: int
    step: int = 1

    def __post_init__(self) -> None:
        _check_positive(self, "count", "step")
        _check_whole(self, "low")

    @property
    def high(self) -> int:
        """The greatest code."""
        return self.low + self.step * self.count

    @property
    def code_format(self) -> tuple[int, bool]:
        """Width of a code, and whether it is signed."""
        return _format(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class SelectArch:
    """The unit that brings a finished vector back into the model's order and hands on the selected elements.

    Members
    -------
    kernels : int
        M, elements of the vector.
    width : int
        R, elements per beat that arrive, and elements per word of the store.
    beats : int
        Beats per vector that arrive (padding included: some elements of some beats belong to no kernel).
    value_bits, value_signed : int, bool
        Shape of an element. The k-WTA kinds take unsigned codes.
    kind : SelectKind
        What is selected.
    winners : int
        K for the k-WTA kinds, otherwise 0.
    losers : bool
        Hand on every element, with the losers set to zero (the dense modes behind a k-WTA).
    lanes : int
        Elements per beat that leave. One of ``width`` and ``lanes`` divides the other.
    bins : int
        Histogram bins scanned per cycle (global k-WTA).
    turns : int
        Units that find thresholds, vector by vector in turn (k-WTA).
    early : int
        Cycles that a token is given before the registers of a local k-WTA are free: as many, and one, as are known to
        pass from a token to the vector's first beat, `LayerArch.way`, at most. No more than the search takes.
    buffers : int
        Vectors that the store holds (a power of two), arriving and leaving ones included.
    """

    kernels: int
    width: int
    beats: int
    value_bits: int
    value_signed: bool = False
    kind: SelectKind
    winners: int = 0
    losers: bool = False
    lanes: int
    bins: int = 4
    turns: int = 1
    early: int = 0
    buffers: int = 2

    def __post_init__(self) -> None:
        _check_positive(self, "kernels", "width", "beats", "value_bits", "lanes", "bins", "turns", "buffers")
        _check_whole(self, "early")
        if self.width % self.lanes and self.lanes % self.width:
            raise ValueError(f"lanes must divide width ({self.width}) or be a multiple of it, not {self.lanes!r}")
        if self.is_kwta and not 1 <= self.winners <= self.kernels:
            raise ValueError(f"winners must be 1 to {self.kernels}, not {self.winners!r}")
        if self.is_kwta and self.value_signed:
            raise ValueError(f"value_signed must be False for {self.kind.value!r}, not {self.value_signed!r}")
        if self.bins & (self.bins - 1) or self.bins > 1 << self.value_bits:
            raise ValueError(f"bins must be a power of two of at most {1 << self.value_bits}, not {self.bins!r}")
        if self.turns > 1 and not self.is_kwta:
            raise ValueError(f"turns must be 1 for {self.kind.value!r}, not {self.turns!r}")
        if not 0 <= self.early <= self.most_early:
            raise ValueError(f"early must be 0 to {self.most_early} for {self.kind.value!r}, not {self.early!r}")
        if self.buffers & (self.buffers - 1):
            raise ValueError(f"buffers must be a power of two, not {self.buffers!r}")

    @property
    def most_early(self) -> int:
        """Cycles of the search in a local k-WTA, from whose start on the time of its end is known."""
        return 2 * self.value_bits if self.kind is SelectKind.LOCAL else 0

    @property
    def is_kwta(self) -> bool:
        return self.kind in (SelectKind.GLOBAL, SelectKind.LOCAL)

    @property
    def words(self) -> int:
        """Words of the store: element ``i`` of the model is in word ``i // width``."""
        return ceil_div(self.kernels, self.width)

    @property
    def address_bits(self) -> int:
        """Bits of the local address in an output beat."""
        return bits_for(ceil_div(self.kernels, self.lanes))


@dataclass(frozen=True, kw_only=True)
class LayerArch:
    """One layer: windows, engine, stages of requantisation (none where the sums themselves are the result), pooling and
    selection.

    Members
    -------
    window : WindowArch or None
        Of a convolution; every window is a vector of the engine, position ``address * lanes + lane`` of it being what
        the window's lane ``lane`` has at local address ``address``.
    joined : int
        Vectors of the layer before, pixels of an image, that make one vector: element ``e`` of pixel ``p`` is position
        ``p * elements + e`` of the engine. 1 for a convolution, which takes the pixels as they are.
    pool : PoolArch or None
        Max-pooling of what the stages make of the windows of an image; of the sums where the engine is ``pooled``.
    tables : MemoryKind
        What the memories with a word per kernel are made of: biases, parameters of the stages, orders, the store. On a
        device without LUT RAM, ``REGISTERS`` keeps a short layer from taking a block RAM for each of a few words.
    """

    name: str
    mode: Mode
    window: "WindowArch | None" = None
    joined: int = 1
    engine: EngineArch | UnrolledArch
    stages: tuple[ScaleArch | ThresholdArch, ...]
    pool: "PoolArch | None" = None
    select: SelectArch
    tables: MemoryKind = MemoryKind.AUTO

    def __post_init__(self) -> None:
        _check_positive(self, "joined")
        if self.tables is MemoryKind.SPRAM:
            raise ValueError("tables must have two ports, not be in SPRAM")
        window, pool, engine, select = self.window, self.pool, self.engine, self.select
        if (window is not None) != engine.own_addresses:
            raise ValueError(f"own_addresses must be {window is not None}, not {engine.own_addresses!r}")
        if window is None:
            if engine.positions % self.joined:
                raise ValueError(f"joined must divide positions ({engine.positions}), not {self.joined!r}")
            if self.joined > 1 and self.elements % engine.lanes:
                raise ValueError(f"lanes must divide the {self.elements} channels of a pixel, not {engine.lanes!r}")
        else:
            if self.joined != 1:
                raise ValueError(f"joined must be 1 for a convolution, not {self.joined!r}")
            for name, of_window, of_engine in (
                    ("positions", window.lanes * window.lane_positions, engine.positions),
                    ("lanes", window.lanes, engine.lanes), ("indexed", window.indexed, engine.indexed),
                    ("activation_bits", window.activation_bits, engine.activation_bits),
                    ("activation_signed", window.activation_signed, engine.activation_signed)):
                if of_window != of_engine:
                    raise ValueError(f"{name} of the engine must be the window's, {of_window!r}, not {of_engine!r}")
        if pool is not None:
            if window is None or (pool.height, pool.width) != window.output_size:
                raise ValueError(f"pool must take the image of the windows, not {pool.height!r} x {pool.width!r}")
            beats, ports, bits, is_signed = select.beats, select.width, select.value_bits, select.value_signed
            if isinstance(engine, UnrolledArch) and engine.pooled:
                beats, ports, bits, is_signed = 1, engine.kernels, engine.value_bits, True
            if (pool.beats, pool.ports) != (beats, ports):
                raise ValueError(f"pool must take {beats} beats of {ports}, not {pool.beats!r} of {pool.ports!r}")
            if (pool.value_bits, pool.value_signed) != (bits, is_signed):
                raise ValueError(f"pool must hold codes of {bits} bits, not {pool.value_bits!r}")
        elif isinstance(engine, UnrolledArch) and engine.pooled:
            raise ValueError("pooled must be False where nothing is pooled, not True")
        if isinstance(engine, UnrolledArch) and window is not None and window.channels != 1:
            raise ValueError(f"channels of an unrolled layer must be 1, not {window.channels!r}")
        if select.early > self.way + 1:
            raise ValueError(f"early must be at most {self.way + 1}, not {select.early!r}")

    @property
    def way(self) -> int:
        """Cycles that pass at least from a token of `select` to the vector's first beat there."""
        if not isinstance(self.engine, UnrolledArch) or self.pool is not None and not self.engine.pooled:
            return 1
        return UnrolledArch.token_latency + STAGE_LATENCY * len(self.stages)

    @property
    def elements(self) -> int:
        """Elements of a vector, or pixel, of the layer before."""
        return self.engine.positions // self.joined if self.window is None else self.window.channels

    @property
    def arrivals(self) -> int:
        """Vectors, or pixels, that arrive for one frame."""
        return self.joined if self.window is None else self.window.height * self.window.width

    @property
    def input_lanes(self) -> int:
        """Elements per beat that arrive."""
        return self.engine.lanes if self.window is None else self.window.input_lanes

    @property
    def pixels(self) -> int:
        """Vectors that leave the layer for one frame."""
        rows, columns = (1, 1) if self.window is None else (self.pool or self.window).output_size
        return rows * columns

    @property
    def stage_formats(self) -> tuple[tuple[int, bool], ...]:
        """Width, and whether it is signed, of what each stage takes: sums, then the codes of the stage before."""
        return ((self.engine.sum_bits, True), *(stage.code_format for stage in self.stages))[:len(self.stages)]


@dataclass(frozen=True, kw_only=True)
class NetworkArch:
    """A pipeline of layers.

    ``input_width`` codes arrive per beat; it divides the first engine's lanes or, of an image, the channels.
    ``loadable`` memories can be written at run time through the ``load`` stream; their initial contents are kept
    either way.
    """

    layers: tuple[LayerArch, ...]
    input_width: int
    loadable: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, "input_width")
        if not self.layers:
            raise ValueError("layers must hold at least one layer, not ()")
        if self.loadable and any(isinstance(layer.engine, UnrolledArch) for layer in self.layers):
            raise ValueError("loadable must be False where a layer is unrolled, not True")
        if not self.loadable and any(isinstance(layer.engine, EngineArch)
                                     and layer.engine.weight_memory is MemoryKind.SPRAM for layer in self.layers):
            raise ValueError("loadable must be True where weights are in SPRAM, not False")
        first = self.layers[0]
        lanes = first.engine.lanes
        if first.window is not None:
            if first.window.channels % self.input_width or first.window.input_lanes != self.input_width:
                raise ValueError(f"input_width must divide the image's channels ({first.window.channels}) and be the "
                                 f"first window's input_lanes ({first.window.input_lanes}), not {self.input_width!r}")
        elif lanes % self.input_width:
            raise ValueError(f"input_width must divide the first layer's lanes ({lanes}), not {self.input_width!r}")
        elif first.joined != 1:
            raise ValueError(f"joined must be 1 in the first layer, not {first.joined!r}")
        for before, after in pairwise(self.layers):
            if ((before.select.lanes, before.select.kernels, before.pixels)
                    != (after.input_lanes, after.elements, after.arrivals)):
                raise ValueError(f"layers must fit together, not {before.name!r} and {after.name!r}")

    @property
    def input_codes(self) -> int:
        """Codes of an input frame."""
        return self.layers[0].arrivals * self.layers[0].elements

    @property
    def input_beats(self) -> int:
        """Beats of an input frame; each belongs to one pixel."""
        return ceil_div(self.input_codes, self.input_width)

    @property
    def input_pixels(self) -> int:
        """Pixels of an input frame; 1 where it is no image."""
        return self.layers[0].arrivals

    @property
    def output_beats(self) -> int:
        """Beats of an output frame, each of ``layers[-1].select.width`` elements of one vector at most."""
        return self.layers[-1].pixels * self.layers[-1].select.words


@dataclass(frozen=True, kw_only=True)
class EngineImages:
    """Contents of an engine's memories.

    Members
    -------
    weights : tuple[tuple[int, ...], ...]
        Per lane, the AWT rows; bank ``b`` is at bit ``b * slot_bits``. Without a row table, row
        ``fold * lane_positions + a`` belongs to local address ``a``.
    rows : tuple[tuple[int, ...], ...] | None
        Per lane and per ``fold * lane_positions + a``: first row (low ``bits_for(lane_rows)`` bits) and, above, the
        number of rows (``bits_for(most_rows + 1)`` bits).
    biases : tuple[tuple[int, ...], ...]
        Per output port and per beat of the vector, signed.
    """

    weights: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[int, ...], ...] | None = None
    biases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class UnrolledImages:
    """What an unrolled engine computes.

    Members
    -------
    graph : AdderGraph
        Sums of the kernels in the model's order, without biases; input ``i`` is lane ``i``.
    biases : tuple[tuple[int, ...], ...]
        Per output port and per beat of the vector, signed.
    """

    graph: AdderGraph
    biases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class SelectImages:
    """Contents of a select unit's memories.

    Members
    -------
    order : tuple[tuple[int, ...], ...]
        Per port and per arriving beat: word of the store (low ``bits_for(words)`` bits) and, above, one bit that is set
        where the element belongs to a kernel.
    ranks : tuple[tuple[int, ...], ...]
        Per word of the store: ``ranks[word][r]`` is the port that holds the model's element ``word * width + r``.
    """

    order: tuple[tuple[int, ...], ...]
    ranks: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class StageImages:
    """Contents of the memories of one stage of requantisation.

    Members
    -------
    multipliers, offsets : tuple[tuple[int, ...], ...]
        Per port and per beat of the vector; empty where all kernels have the same.
    thresholds : tuple[tuple[tuple[int, ...], ...], ...]
        Per port and per beat, ascending.
    """

    multipliers: tuple[tuple[int, ...], ...] = ()
    offsets: tuple[tuple[int, ...], ...] = ()
    thresholds: tuple[tuple[tuple[int, ...], ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LayerImages:
    engine: EngineImages | UnrolledImages
    stages: tuple[StageImages, ...]
    select: SelectImages


@dataclass(frozen=True, kw_only=True)
class WindowArch:
    """The unit that turns an image's pixels into the windows of a convolution; dilation is 1.

    Tap ``t = y * kernel_width + x`` of a window is in group ``t // lanes`` and on lane ``t % lanes``; channel ``c`` of
    it is local address ``group * channels + c`` of that lane.

    Members
    -------
    channels, height, width : int
        Of the image. A signal of one dimension takes least memory as an image of width 1.
    kernel : (int, int)
        Height and width of a window.
    strides : (int, int)
        Rows and columns from one window to the next.
    pads : (int, int, int, int)
        Rows and columns of zero codes around the image: top, left, bottom, right.
    lanes : int
        P: 1, the kernel's width (a row of taps side by side) or its area (every tap).
    slots : int
        K, most pairs of one pixel; all channels where pixels are not ``indexed``.
    input_lanes : int
        Elements per beat that arrive.
    activation_bits, activation_signed : int, bool
        Shape of a code.
    indexed : bool
        A pixel is its selected (channel, value) pairs; otherwise all its channels come, in order, and every element of
        a window is handed on, padding included.
    depth : int
        The buffer holds ``depth`` times the kernel's height in rows. With one, no further row comes in while a window
        row is read that sees the whole buffer; with two, the next image's first windows become complete meanwhile.
    block_ram : bool or None
        Whether pairs are kept in block RAM; None leaves that to synthesis.
    """

    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    lanes: int
    slots: int
    input_lanes: int = 1
    activation_bits: int = 8
    activation_signed: bool = False
    indexed: bool = True
    depth: int = 2
    block_ram: bool | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "channels", "height", "width", "lanes", "slots", "input_lanes", "activation_bits",
                        "depth")
        _check_spans(self)
        if min(self.output_size) < 1:
            raise ValueError(f"kernel must fit into the padded image, not {self.kernel!r}")
        if self.lanes not in (1, self.kernel[1], self.taps):
            raise ValueError(f"lanes must be 1, {self.kernel[1]} or {self.taps}, not {self.lanes!r}")
        if self.slots > self.channels or not self.indexed and self.slots != self.channels:
            bound = f"at most {self.channels}" if self.indexed else f"{self.channels}"
            raise ValueError(f"slots must be {bound}, not {self.slots!r}")

    @property
    def taps(self) -> int:
        """Pixels of one window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def output_size(self) -> tuple[int, int]:
        """Windows in a column and in a row."""
        top, left, bottom, right = self.pads
        return ((self.height + top + bottom - self.kernel[0]) // self.strides[0] + 1,
                (self.width + left + right - self.kernel[1]) // self.strides[1] + 1)

    @property
    def bank_grid(self) -> tuple[int, int]:
        """Rows and columns of taps that are read side by side, each from a bank of its own."""
        return self.kernel if self.lanes == self.taps else (1, self.lanes)

    @property
    def groups(self) -> int:
        """Groups of ``lanes`` taps that are read one after the other."""
        return self.taps // self.lanes

    @property
    def lane_positions(self) -> int:
        """Local addresses of a lane."""
        return self.groups * self.channels

    @property
    def input_address_bits(self) -> int:
        """Bits of the address in an input beat."""
        return bits_for(ceil_div(self.channels, self.input_lanes))

    @property
    def address_bits(self) -> int:
        """Bits of a local address in an output beat."""
        return bits_for(self.lane_positions)

    @property
    def rows(self) -> int:
        """Rows of pixels that the buffer holds."""
        return self.depth * self.kernel[0]

    @property
    def bank_pixels(self) -> int:
        """Pixels that one bank holds."""
        grid_rows, grid_columns = self.bank_grid
        return self.rows // grid_rows * ceil_div(self.width, grid_columns)

    def first_row(self, number: int) -> int:
        """The first row that window row ``number`` or one below it can need; ``height`` if there is none."""
        return min(max(number * self.strides[0] - self.pads[0], 0), self.height)

    def last_row(self, number: int) -> int:
        """The row that must be here for window row ``number``; a window waits for its image's first pixel at least."""
        return min(max(number * self.strides[0] - self.pads[0] + self.kernel[0], 1), self.height) - 1

    def last_column(self, number: int) -> int:
        """The column that has to be here, in that row, for window ``number`` of a row."""
        return min(max(number * self.strides[1] - self.pads[1] + self.kernel[1], 1), self.width) - 1


@dataclass(frozen=True, kw_only=True)
class PoolAxis:
    """Max-pooling along one axis, as positions come one after the other.

    A pooled element is open from the first of its positions on and leaves with the last one, no two with the same.
    Where several reach the axis's end, the first leaves there and each other with a further position, behind the end.

    Members
    -------
    size, count : int
        Positions that exist, and pooled elements.
    kernel, stride : int
        Positions of one element, and from one element to the next.
    before : int
        Positions of padding, fewer than ``kernel``, that the first element begins with.
    """

    size: int
    count: int
    kernel: int
    stride: int
    before: int

    @property
    def is_identity(self) -> bool:
        """Every position is an element of its own."""
        return self.kernel == self.stride == 1

    @property
    def whole(self) -> int:
        """Elements, existing ones or not, that leave before the last position that exists."""
        return ceil_div(max(self.size + self.before - self.kernel, 0), self.stride)

    @property
    def positions(self) -> int:
        """All positions: those that exist, then those that only let an element go."""
        return self.size + max(self.count - self.whole - 1, 0)

    def first(self, element: int) -> int:
        """The first position that exists of an element."""
        return max(element * self.stride - self.before, 0)

    def last(self, element: int) -> int:
        """The position with which an element leaves."""
        if element < self.whole:
            return element * self.stride - self.before + self.kernel - 1
        return self.size - 1 + element - self.whole

    @property
    def together(self) -> int:
        """Elements that begin with the first position."""
        return min(self.before // self.stride + 1, self.count)

    @property
    def kept(self) -> range:
        """Elements that do not leave with the position they begin with; the very first and the very last one may."""
        begin, end = (int(self.last(element) == self.first(element)) for element in (0, self.count - 1))
        return range(0) if self.kernel == 1 else range(begin, self.count - end)

    @property
    def files(self) -> int:
        """Most elements that are open from one position to the next; element ``o`` is in file ``o % files``."""
        firsts, lasts = ([of(element) for element in range(self.count)] for of in (self.first, self.last))
        return max(bisect_right(firsts, position) - bisect_right(lasts, position) for position in firsts)

    @property
    def hands_over(self) -> bool:
        """An element may leave a file with the position with which another one enters it."""
        files, kept = self.files, self.kept
        return any(self.last(one) == self.first(other) for one, other in zip(kept, kept[files:], strict=False))


@dataclass(frozen=True, kw_only=True)
class PoolArch:
    """The unit that takes the maximum over neighbouring vectors of an image.

    Members
    -------
    height, width : int
        Vectors in a column and in a row of the image.
    kernel, strides : (int, int)
        Rows and columns of one pooled vector, and from one to the next.
    pads : (int, int, int, int)
        Rows and columns around the image that never win: top, left, bottom, right; fewer than the kernel's.
    beats, ports : int
        Beats of a vector, elements of a beat.
    value_bits, value_signed : int, bool
        Shape of an element.
    """

    height: int
    width: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    beats: int
    ports: int
    value_bits: int
    value_signed: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, "height", "width", "beats", "ports", "value_bits")
        _check_spans(self)
        if any(pad >= span for pad, span in zip(self.pads, self.kernel * 2, strict=True)):
            raise ValueError(f"pads must be less than the kernel {self.kernel!r}, not {self.pads!r}")
        if min(self.output_size) < 1:
            raise ValueError(f"kernel must fit into the padded image, not {self.kernel!r}")

    @property
    def output_size(self) -> tuple[int, int]:
        """Pooled vectors in a column and in a row."""
        return self.vertical.count, self.horizontal.count

    @property
    def vertical(self) -> PoolAxis:
        return self._axis(0, self.height)

    @property
    def horizontal(self) -> PoolAxis:
        return self._axis(1, self.width)

    def _axis(self, number: int, size: int) -> PoolAxis:
        kernel, stride, before, after = (self.kernel[number], self.strides[number], self.pads[number],
                                         self.pads[number + 2])
        return PoolAxis(size=size, count=(size + before + after - kernel) // stride + 1, kernel=kernel, stride=stride,
                        before=before)
