"""The integer network: the one record that everything downstream reads.

All records are frozen, their arrays are read-only copies, and every one checks itself when it is made. Records compare
by identity, since arrays have no single truth value.
"""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from .checks import check_shape, check_whole, frozen
from .window import Window, max_pool

__all__ = ["Exactness", "Layer", "Network", "Scale", "Stage", "Thresholds", "range_bits"]


class Exactness(Enum):
    """How a layer's requantisation relates to the model that was read."""

    ROUNDED = "rounded"             # scales were chosen here, from calibration data
    SHIFT = "exact shift"           # equals the model on every possible sum, without a multiplier
    MULTIPLIER = "exact multiplier"
    THRESHOLDS = "exact thresholds"
    NEAREST = "nearest multiplier"  # differs from the model on some sums, by one code


def range_bits(low: int, high: int) -> tuple[int, bool]:
    """Width, and whether it is signed, of the code that holds ``low .. high``."""
    if low >= 0:
        return max(1, high.bit_length()), False
    return 1 + max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0), True


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """``clamp((x * multiplier + offset) >> shift, low, high)``.

    With ``ties_to_even`` a sum ``x * multiplier + offset`` whose low ``shift`` bits are all zero, and whose quotient is
    odd, gives one less: with an offset of half a step that is rounding half to even.

    Members
    -------
    multiplier : int64 (M,) or None
        Not zero. None is 1 for all kernels.
    offset : int64 (M,) or int
    shift, low, high : int
    ties_to_even : bool
        Without a shift there are no low bits, and every odd code becomes the even one below.
    """

    multiplier: np.ndarray | None
    offset: np.ndarray | int
    shift: int
    low: int
    high: int
    ties_to_even: bool = False

    def __post_init__(self) -> None:
        check_whole("shift", self.shift, 0, 62)
        check_whole("low", self.low, -(2**15), 2**16)
        check_whole("high", self.high, self.low, 2**16 - 1)
        if self.multiplier is not None:
            object.__setattr__(self, "multiplier", frozen("multiplier", self.multiplier, np.int64))
            if not self.multiplier.all():
                raise ValueError("multiplier must not be zero")
        if isinstance(self.offset, np.ndarray):
            object.__setattr__(self, "offset", frozen("offset", self.offset, np.int64))
            if self.offset.min() < -(2**61) or self.offset.max() > 2**61:
                raise ValueError("offset must be -2**61 to 2**61")
        else:
            check_whole("offset", self.offset, -(2**61), 2**61)

    @property
    def multiplier_bits(self) -> int:
        """Width of the largest multiplier, without a sign; 0 where there is none."""
        return 0 if self.multiplier is None else int(np.abs(self.multiplier).max()).bit_length()

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Codes of int64 (..., M)."""
        total = (x if self.multiplier is None else x * self.multiplier) + self.offset
        codes = total >> self.shift
        if self.ties_to_even:
            codes = codes - ((codes & 1 == 1) & (total & (1 << self.shift) - 1 == 0))
        return np.clip(codes, self.low, self.high)


@dataclass(frozen=True, kw_only=True, eq=False)
class Thresholds:
    """``low + step * (how many of a kernel's thresholds are at most x)``.

    Members
    -------
    values : int64 (M, T)
        Ascending in every row.
    low, step : int
    """

    values: np.ndarray
    low: int
    step: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", frozen("values", self.values, np.int64, ndim=2))
        if (self.values[:, 1:] < self.values[:, :-1]).any():   # a difference could overflow
            raise ValueError("values must ascend in every row")
        check_whole("low", self.low, -(2**15), 2**16)
        check_whole("step", self.step, 1, 2**15)
        check_whole("high", self.high, self.low, 2**16 - 1)

    @property
    def high(self) -> int:
        """The greatest code."""
        return self.low + self.step * self.values.shape[1]

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Codes of int64 (..., M)."""
        codes = np.full(x.shape, self.low, np.int64)
        for column in self.values.T:
            codes += self.step * (x >= column)
        return codes


Stage = Scale | Thresholds


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """An integer layer: ``sum = weights @ codes + bias``, then requantisation, max-pooling and k-WTA.

    The requantisation is one stage or several, one after the other; clamping at zero is the ReLU. k-WTA ranks codes, a
    tie goes to the lower index, a zero never wins.

    Members
    -------
    name, op : str
    weights : int64 (M, L)
        Within ``-2**(weight_bits - 1) .. 2**(weight_bits - 1) - 1``.
    mask : bool (M, L)
        Where the float model has a weight; such a weight may be quantised to zero.
    weight_bits : int
    bias : int64 (M,)
        In units of the sum.
    input_range : (int, int)
        Least and greatest code that the layer takes.
    window : Window or None
        Of a convolution: every window of the image is a vector. Padding is the code 0.
    stages : tuple of Stage
        Empty: the integer sums are the output.
    exactness : Exactness
    misplaced : (int, int)
        Thresholds, of all kernels, that are not where the model has them, and by how much of a sum at most; zeros
        unless the exactness is NEAREST.
    pool : Window or None
        Max-pooling of the codes.
    winners : int or None
        K of the k-WTA, at each pixel of an image.
    output_scale, output_offset : float or float64 (M,)
        Real value = code (or sum) x scale + offset.
    origin : int64 (M,) or None
        Number of every kernel in the model's layer, where kernels were left out.
    sets : int64 (S, N) or None
        Complementary sets that the mask was made for, kernels of one in a row, -1 where a place is empty.
    """

    name: str
    op: str = "Linear"
    weights: np.ndarray
    mask: np.ndarray
    weight_bits: int
    bias: np.ndarray
    input_range: tuple[int, int]
    window: Window | None = None
    stages: tuple[Stage, ...] = ()
    exactness: Exactness = Exactness.ROUNDED
    misplaced: tuple[int, int] = (0, 0)
    pool: Window | None = None
    winners: int | None = None
    output_scale: float | np.ndarray
    output_offset: float | np.ndarray = 0.0
    origin: np.ndarray | None = None
    sets: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", frozen("weights", self.weights, np.int64, ndim=2))
        object.__setattr__(self, "mask", frozen("mask", self.mask, np.bool_, self.weights.shape))
        object.__setattr__(self, "bias", frozen("bias", self.bias, np.int64, (self.kernels,)))
        check_whole("weight_bits", self.weight_bits, 2, 17)
        low, high = self.input_range
        check_whole("input_range", low, -(2**15), 0)
        check_whole("input_range", high, 0, 2**16 - 1)
        limit = 2 ** (self.weight_bits - 1)
        for extreme in (int(self.weights.min()), int(self.weights.max())):
            if not -limit <= extreme < limit:
                raise ValueError(f"weights must be {-limit} to {limit - 1}, not {extreme!r}")
        if self.weights[~self.mask].any():
            raise ValueError("weights must be zero where the mask is False")
        if self.bias.min() < -(2**60) or self.bias.max() > 2**60:
            raise ValueError("bias must be -2**60 to 2**60")
        self._check_output()

    def _check_output(self) -> None:
        if self.window is not None and self.window.positions != self.positions:
            raise ValueError(f"window must have {self.positions} positions, not {self.window.positions}")
        for stage in self.stages:
            held = stage.values if isinstance(stage, Thresholds) else stage.multiplier
            arrays = [held] + ([stage.offset] if isinstance(stage, Scale) else [])
            for array in arrays:
                if isinstance(array, np.ndarray) and len(array) != self.kernels:
                    raise ValueError(f"stages must have parameters of {self.kernels} kernels, not {len(array)}")
        if self.stages and (self.stages[-1].high < 1 or self.stages[-1].low > 0):
            raise ValueError("stages must end in codes on both sides of a half")
        if self.pool is not None:
            if self.window is None or not self.stages:
                raise ValueError("pool must be None without a window, or where sums leave")
            image = (self.kernels, *self.window.output_size)
            if (self.pool.channels, self.pool.height, self.pool.width) != image:
                raise ValueError(f"pool must take an image of {image!r}")
            if not self.pool.covered:
                raise ValueError(f"pool must not have windows in the padding alone, with pads {self.pool.pads!r}")
        if self.winners is not None:
            check_whole("winners", self.winners, 1, self.kernels)
            if not self.stages or self.stages[-1].low < 0:
                raise ValueError("winners must be None where codes can be negative, or are sums")
        for name in ("output_scale", "output_offset"):
            value = getattr(self, name)
            array = frozen(name, value, np.float64, np.shape(value) and (self.kernels,))
            object.__setattr__(self, name, array if np.shape(value) else float(array))
        if np.min(self.output_scale) <= 0:
            raise ValueError(f"output_scale must be positive, not {float(np.min(self.output_scale))!r}")
        if self.origin is not None:
            object.__setattr__(self, "origin", frozen("origin", self.origin, np.int64, (self.kernels,)))
        if self.sets is not None:
            object.__setattr__(self, "sets", frozen("sets", self.sets, np.int64, ndim=2))
            if np.sort(self.sets[self.sets >= 0]).tolist() != list(range(self.kernels)):
                raise ValueError("sets must hold every kernel once")
        bits = self.sum_bits
        for stage in self.stages:
            if isinstance(stage, Scale) and bits + stage.multiplier_bits > 62:
                raise ValueError(f"sum_bits and multiplier_bits must make at most 62 together, not {bits} and "
                                 f"{stage.multiplier_bits}")
            bits = range_bits(stage.low, stage.high)[0]

    @property
    def kernels(self) -> int:
        """M, the channels of the output."""
        return self.weights.shape[0]

    @property
    def positions(self) -> int:
        """L, the elements that a kernel sees at once."""
        return self.weights.shape[1]

    @property
    def inputs(self) -> int:
        """Codes of one input."""
        return self.positions if self.window is None else self.window.inputs

    @property
    def vectors(self) -> int:
        """Vectors that one input makes: 1, or the windows of a convolution."""
        return 1 if self.window is None else math.prod(self.window.output_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(M,), or (M, height, width) of an image."""
        if self.window is None:
            return (self.kernels,)
        return (self.kernels, *(self.window if self.pool is None else self.pool).output_size)

    @property
    def input_bits(self) -> int:
        """Width of an input code."""
        return range_bits(*self.input_range)[0]

    @property
    def input_signed(self) -> bool:
        """Whether input codes are two's complement."""
        return self.input_range[0] < 0

    @property
    def output_range(self) -> tuple[int, int] | None:
        """Least and greatest output code, zero among them (losers and padding are zeros); None where sums leave."""
        return (min(0, self.stages[-1].low), self.stages[-1].high) if self.stages else None

    @property
    def output_bits(self) -> int | None:
        """Width of an output code; None where sums leave."""
        return None if self.output_range is None else range_bits(*self.output_range)[0]

    @property
    def output_signed(self) -> bool:
        """Whether what leaves is two's complement, as sums are."""
        return self.output_range is None or self.output_range[0] < 0

    @cached_property
    def kernel_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest sum of every kernel, bias included, over all inputs in ``input_range``: int64 (M,) both.

        A padded window holds zeros, which are in the range.
        """
        low, high = self.input_range
        least = np.minimum(self.weights * low, self.weights * high).sum(axis=1)
        most = np.maximum(self.weights * low, self.weights * high).sum(axis=1)
        return least + self.bias, most + self.bias

    @cached_property
    def sum_range(self) -> tuple[int, int]:
        """Least and greatest sum over any subset of positions, with or without the bias, over all kernels.

        Partial sums of every order of summation, lane and tree therefore stay inside, for any input codes of
        ``input_bits``.
        """
        bits, signed = self.input_bits, self.input_signed
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        least = np.minimum(self.weights * low, self.weights * high).sum(axis=1)   # never above zero, as low is not
        most = np.maximum(self.weights * low, self.weights * high).sum(axis=1)
        return int((least + self.bias.clip(max=0)).min()), int((most + self.bias.clip(min=0)).max())

    @property
    def sum_bits(self) -> int:
        """Width of the two's complement that holds ``sum_range``: what accumulators and adders need."""
        least, most = self.sum_range
        return 1 + max((-least - 1).bit_length() if least else 0, most.bit_length())

    def requantise(self, sums: np.ndarray) -> np.ndarray:
        """Codes of sums (..., M), before pooling and k-WTA; the sums themselves where there are no stages."""
        for stage in self.stages:
            sums = stage.apply(sums)
        return sums

    def real(self, outputs: np.ndarray) -> np.ndarray:
        """Real values of output codes or sums (n, elements of ``output_shape``)."""
        pixels = outputs.shape[1] // self.kernels
        scale, offset = (np.repeat(np.broadcast_to(value, (self.kernels,)), pixels)
                         for value in (self.output_scale, self.output_offset))
        return outputs * scale + offset

    def pooled(self, codes: np.ndarray) -> np.ndarray:
        """Max-pooled codes (n, M * pixels)."""
        return codes if self.pool is None else max_pool(self.pool, codes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """An integer network.

    Members
    -------
    name : str
    input_shape : tuple of int
        Shape of one input, without the batch.
    input_range : (int, int)
        Least and greatest input code.
    input_scale, input_origin : float
        Real value = code x scale + origin.
    layers : tuple of Layer
        Every layer but the last hands out codes.
    sha256 : str
        Of the model file's bytes.
    """

    name: str
    input_shape: tuple[int, ...]
    input_range: tuple[int, int]
    input_scale: float
    input_origin: float = 0.0
    layers: tuple[Layer, ...]
    sha256: str

    def __post_init__(self) -> None:
        check_shape(self.input_shape)
        if not self.layers:
            raise ValueError("layers must hold at least one layer, not ()")
        if not 0 < self.input_scale < math.inf:
            raise ValueError(f"input_scale must be positive, not {self.input_scale!r}")
        if not math.isfinite(self.input_origin):
            raise ValueError(f"input_origin must be finite, not {self.input_origin!r}")
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError(f"layer names must be unique, not {names!r}")
        length, codes = math.prod(self.input_shape), self.input_range
        for layer in self.layers:
            if layer.inputs != length:
                raise ValueError(f"layer {layer.name!r} must take {length} elements, not {layer.inputs!r}")
            if layer.input_range != codes:
                raise ValueError(f"layer {layer.name!r} must take codes of {codes!r}, not of {layer.input_range!r}")
            length, codes = math.prod(layer.output_shape), layer.output_range

    @property
    def input_bits(self) -> int:
        """Width of an input code."""
        return self.layers[0].input_bits

    @property
    def input_signed(self) -> bool:
        """Whether input codes are two's complement."""
        return self.layers[0].input_signed
