"""Architecture records: every fact about a generated network, free of Amaranth.

The records say *what is built*; the planner in ``sw`` chooses them, the hardware in ``hw`` obeys them and the cycle
model in ``sim`` reads the same numbers. Terms are those of ``docs/architecture.md``.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

__all__ = [
    "AccumulatorKind", "EngineArch", "EngineImages", "LayerArch", "LayerImages", "Mode", "NetworkArch",
    "RequantiseArch", "SelectArch", "SelectImages", "SelectKind", "bits_for", "ceil_div",
]


def ceil_div(a: int, b: int) -> int:
    """Quotient of non-negative ``a`` by positive ``b``, rounded up."""
    return -(-a // b)


def bits_for(count: int) -> int:
    """Bits that number ``count`` things from zero; at least one, so that no signal has zero width."""
    return max(1, (count - 1).bit_length())


def _check_positive(record: object, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}")


class Mode(Enum):
    """How a layer meets its weights and its input."""

    DENSE = "dense"
    SPARSE_DENSE = "sparse-dense"
    SPARSE_SPARSE = "sparse-sparse"


class AccumulatorKind(Enum):
    """What an accumulator file is made of."""

    LUT_RAM = "lut-ram"        # asynchronous read (ECP5, Xilinx)
    BLOCK_RAM = "block-ram"    # synchronous read with forwarding (iCE40, deep files)


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

    @property
    def multipliers(self) -> int:
        return self.lanes * self.banks

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
class RequantiseArch:
    """``clamp((sum * m + 2**(shift - 1)) >> shift, 0, 2**code_bits - 1)``; ``multiplier_bits`` of 0 means m = 1."""

    multiplier_bits: int
    shift: int
    code_bits: int

    def __post_init__(self) -> None:
        _check_positive(self, "code_bits")
        if self.multiplier_bits < 0:
            raise ValueError(f"multiplier_bits must be at least 0, not {self.multiplier_bits!r}")
        if self.shift < 0:
            raise ValueError(f"shift must be at least 0, not {self.shift!r}")


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
        Shape of an element. The k-WTA kinds and zero skipping take unsigned codes.
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

    def __post_init__(self) -> None:
        _check_positive(self, "kernels", "width", "beats", "value_bits", "lanes", "bins")
        if self.width % self.lanes and self.lanes % self.width:
            raise ValueError(f"lanes must divide width ({self.width}) or be a multiple of it, not {self.lanes!r}")
        if self.is_kwta and not 1 <= self.winners <= self.kernels:
            raise ValueError(f"winners must be 1 to {self.kernels}, not {self.winners!r}")
        if self.kind is not SelectKind.ALL and self.value_signed:
            raise ValueError(f"value_signed must be False for {self.kind}, not {self.value_signed!r}")
        if self.bins & (self.bins - 1) or self.bins > 1 << self.value_bits:
            raise ValueError(f"bins must be a power of two of at most {1 << self.value_bits}, not {self.bins!r}")

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
    """One layer: engine, requantisation (None where the sums themselves are the result) and selection."""

    name: str
    mode: Mode
    engine: EngineArch
    requantise: RequantiseArch | None
    select: SelectArch


@dataclass(frozen=True, kw_only=True)
class NetworkArch:
    """A pipeline of layers.

    ``input_width`` codes arrive per beat; it divides the first engine's lanes. ``loadable`` memories
    can be written at run time through the ``load`` stream; their initial contents are kept either way.
    """

    layers: tuple[LayerArch, ...]
    input_width: int
    loadable: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, "input_width")
        if not self.layers:
            raise ValueError("layers must hold at least one layer, not ()")
        lanes = self.layers[0].engine.lanes
        if lanes % self.input_width:
            raise ValueError(f"input_width must divide the first layer's lanes ({lanes}), not {self.input_width!r}")
        for before, after in pairwise(self.layers):
            if before.select.lanes != after.engine.lanes or before.select.kernels != after.engine.positions:
                raise ValueError(f"layers must fit together, not {before.name!r} and {after.name!r}")


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
    biases, multipliers : tuple[tuple[int, ...], ...]
        Per output port and per beat of the vector; biases signed, multipliers unsigned (empty where m = 1).
    """

    weights: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[int, ...], ...] | None = None
    biases: tuple[tuple[int, ...], ...]
    multipliers: tuple[tuple[int, ...], ...] = ()


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
class LayerImages:
    engine: EngineImages
    select: SelectImages
