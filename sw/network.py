"""Model records: the float network that was read, and the integer network that is built.

All records are frozen, their arrays are read-only copies, and every one checks itself when it is made. Records compare
by identity, since arrays have no single truth value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["FloatLayer", "FloatModel", "Layer", "Network", "k_winners"]


def _frozen(
    name: str, value: ArrayLike, dtype: type, shape: tuple[int, ...] | None = None, *, ndim: int = 1,
) -> np.ndarray:
    """Read-only copy of ``value`` with exactly this ``dtype`` (lossless conversion only) and shape."""
    array = np.asarray(value)
    if not np.can_cast(array.dtype, dtype, casting="safe"):
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {array.dtype}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape!r}, not {array.shape!r}")
    if shape is None and (array.ndim != ndim or array.size == 0):
        raise ValueError(f"{name} must be a non-empty array of {ndim} dimensions, not of shape {array.shape!r}")
    array = np.array(array, dtype=dtype, order="C")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers only")
    array.flags.writeable = False
    return array


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {value!r}")


def _check_shape(input_shape: tuple[int, ...]) -> None:
    if not isinstance(input_shape, tuple) or not input_shape:
        raise TypeError(f"input_shape must be a tuple of at least one size, not {input_shape!r}")
    for size in input_shape:
        _check_whole("input_shape", size, 1, 2**31)


def _check_chain(input_shape: tuple[int, ...], layers: "Sequence[FloatLayer] | Sequence[Layer]") -> None:
    """Check that every layer takes what the one before it hands on, and that names tell layers apart."""
    _check_shape(input_shape)
    if not layers:
        raise ValueError("layers must hold at least one layer, not ()")
    length = math.prod(input_shape)
    for layer in layers:
        if layer.positions != length:
            raise ValueError(f"layer {layer.name!r} must have {length} positions, not {layer.positions!r}")
        length = layer.kernels
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise ValueError(f"layer names must be unique, not {names!r}")


def k_winners(values: np.ndarray, winners: int) -> np.ndarray:
    """Keep the ``winners`` largest of every row and set the others to zero; a tie goes to the lower index.

    Parameters
    ----------
    values : array (n, M)
        Not negative, as after ReLU.
    winners : int
        K, 1 to M.
    """
    chosen = np.argsort(-values, axis=1, kind="stable")[:, :winners]
    kept = np.zeros_like(values)
    np.put_along_axis(kept, chosen, np.take_along_axis(values, chosen, axis=1), axis=1)
    return kept


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatLayer:
    """``weights @ x + bias``, then ReLU, then k-WTA; batch normalisation is already folded in.

    Members
    -------
    name : str
        Name of the ONNX node that multiplies.
    weights : float64 (M, L)
        One row a kernel. An exact zero is no weight.
    bias : float64 (M,)
    relu : bool
    winners : int or None
        K of the k-WTA; needs ``relu``.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    relu: bool
    winners: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen("weights", self.weights, np.float64, ndim=2))
        object.__setattr__(self, "bias", _frozen("bias", self.bias, np.float64, (self.kernels,)))
        if self.winners is not None:
            _check_whole("winners", self.winners, 1, self.kernels)
            if not self.relu:
                raise ValueError("winners must be None without relu: k-WTA needs values that are not negative")

    @property
    def kernels(self) -> int:
        """M, the length of the output."""
        return self.weights.shape[0]

    @property
    def positions(self) -> int:
        """L, the length of the input."""
        return self.weights.shape[1]

    @property
    def mask(self) -> np.ndarray:
        """Where there is a weight, bool (M, L). Folding only ever scales weights, so zeros of the model stay zeros."""
        return self.weights != 0


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatModel:
    """A multilayer perceptron in floating point.

    Members
    -------
    name : str
    input_shape : tuple of int
        Shape of one input, without the batch. Layers see it flattened, row by row.
    layers : tuple of FloatLayer
        Every layer but the last has ReLU.
    sha256 : str
        Of the bytes of the file, in hexadecimal.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[FloatLayer, ...]
    sha256: str

    def __post_init__(self) -> None:
        _check_chain(self.input_shape, self.layers)
        for layer in self.layers[:-1]:
            if not layer.relu:
                raise ValueError(f"layer {layer.name!r} must have ReLU, since another layer follows")

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Compute every layer's output.

        Parameters
        ----------
        x : array (n, ``*input_shape``) or (n, L)
            Real values, not codes.

        Returns
        -------
        list of float64 (n, M)
            One array a layer, after ReLU and k-WTA where the layer has them; the last holds the scores.

        Raises
        ------
        ValueError
            If ``x`` has another shape.
        """
        length = math.prod(self.input_shape)
        x = np.asarray(x, dtype=np.float64)
        if x.shape[1:] not in (self.input_shape, (length,)):
            raise ValueError(f"x must have shape {('n', *self.input_shape)!r}, not {x.shape!r}")
        value, outputs = x.reshape(len(x), length), []
        for layer in self.layers:
            value = value @ layer.weights.T + layer.bias
            if layer.relu:
                value = np.maximum(value, 0)
            if layer.winners is not None:
                value = k_winners(value, layer.winners)
            outputs.append(value)
        return outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """An integer layer: ``sum = weights @ codes + bias``, then requantisation and k-WTA.

    ``code = clamp((sum * m + 2**(shift - 1)) >> shift, 0, 2**output_bits - 1)``, without the rounding term where
    ``shift`` is 0; clamping at zero is the ReLU. k-WTA ranks codes, a tie goes to the lower index, a zero never wins.

    Members
    -------
    name : str
    weights : int64 (M, L)
        Within ``-(2**(weight_bits - 1) - 1) .. 2**(weight_bits - 1) - 1``.
    mask : bool (M, L)
        Where the float model has a weight; such a weight may be quantised to zero.
    weight_bits : int
    bias : int64 (M,)
        In units of the sum.
    input_bits, input_signed : int, bool
        Codes that the layer takes: unsigned, or two's complement.
    multiplier : int64 (M,) or None
        m, at least 1. None is m = 1.
    shift : int
    output_bits : int or None
        Width of the unsigned output codes. None: the integer sums are the output.
    winners : int or None
        K of the k-WTA.
    output_scale : float or float64 (M,)
        Real value = code (or sum) x scale.
    """

    name: str
    weights: np.ndarray
    mask: np.ndarray
    weight_bits: int
    bias: np.ndarray
    input_bits: int
    input_signed: bool
    multiplier: np.ndarray | None
    shift: int
    output_bits: int | None
    winners: int | None
    output_scale: float | np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen("weights", self.weights, np.int64, ndim=2))
        object.__setattr__(self, "mask", _frozen("mask", self.mask, np.bool_, self.weights.shape))
        object.__setattr__(self, "bias", _frozen("bias", self.bias, np.int64, (self.kernels,)))
        _check_whole("weight_bits", self.weight_bits, 2, 16)
        _check_whole("input_bits", self.input_bits, 1, 16)
        _check_whole("shift", self.shift, 0, 62)
        limit = 2 ** (self.weight_bits - 1) - 1
        for extreme in (int(self.weights.min()), int(self.weights.max())):
            if not -limit <= extreme <= limit:
                raise ValueError(f"weights must be {-limit} to {limit}, not {extreme!r}")
        if self.weights[~self.mask].any():
            raise ValueError("weights must be zero where the mask is False")
        if self.bias.min() < -(2**60) or self.bias.max() > 2**60:
            raise ValueError("bias must be -2**60 to 2**60")
        if self.output_bits is None:
            if self.multiplier is not None or self.shift or self.winners is not None:
                raise ValueError("output_bits must be given with a multiplier, a shift or winners, not None")
        else:
            _check_whole("output_bits", self.output_bits, 1, 16)
        if self.multiplier is not None:
            object.__setattr__(self, "multiplier", _frozen("multiplier", self.multiplier, np.int64, (self.kernels,)))
            if self.multiplier.min() < 1:
                raise ValueError(f"multiplier must be at least 1, not {int(self.multiplier.min())!r}")
        if self.winners is not None:
            _check_whole("winners", self.winners, 1, self.kernels)
        shape = np.shape(self.output_scale)
        scale = _frozen("output_scale", self.output_scale, np.float64, shape and (self.kernels,))
        if scale.min() <= 0:
            raise ValueError(f"output_scale must be positive, not {float(scale.min())!r}")
        object.__setattr__(self, "output_scale", scale if shape else float(scale))
        if self.sum_bits + self.multiplier_bits > 63:
            raise ValueError(f"sum_bits and multiplier_bits must make at most 63 together, not {self.sum_bits} "
                             f"and {self.multiplier_bits}")

    @property
    def kernels(self) -> int:
        """M, the length of the output."""
        return self.weights.shape[0]

    @property
    def positions(self) -> int:
        """L, the length of the input."""
        return self.weights.shape[1]

    @property
    def input_range(self) -> tuple[int, int]:
        """Least and greatest input code."""
        if self.input_signed:
            return -(2 ** (self.input_bits - 1)), 2 ** (self.input_bits - 1) - 1
        return 0, 2**self.input_bits - 1

    @property
    def multiplier_bits(self) -> int:
        """Width of the largest multiplier; 0 where there is none (m = 1)."""
        return 0 if self.multiplier is None else int(self.multiplier.max()).bit_length()

    @cached_property
    def sum_range(self) -> tuple[int, int]:
        """Least and greatest sum over any subset of positions, with or without the bias, over all kernels.

        Partial sums of every order of summation, lane and tree therefore stay inside, for any input codes.
        """
        low, high = self.input_range
        least = np.minimum(self.weights * low, self.weights * high).clip(max=0).sum(axis=1)
        most = np.maximum(self.weights * low, self.weights * high).clip(min=0).sum(axis=1)
        return int((least + self.bias.clip(max=0)).min()), int((most + self.bias.clip(min=0)).max())

    @property
    def sum_bits(self) -> int:
        """Width of the two's complement that holds ``sum_range``: what accumulators and adders need."""
        least, most = self.sum_range
        return 1 + max((-least - 1).bit_length() if least else 0, most.bit_length())


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """An integer network.

    Members
    -------
    name : str
    input_shape : tuple of int
        Shape of one input, without the batch.
    input_bits, input_signed : int, bool
        Codes of the input: unsigned, or two's complement.
    input_scale : float
        Real value = code x scale.
    layers : tuple of Layer
        Every layer but the last hands out codes.
    sha256 : str
        Of the model file's bytes.
    """

    name: str
    input_shape: tuple[int, ...]
    input_bits: int
    input_signed: bool
    input_scale: float
    layers: tuple[Layer, ...]
    sha256: str

    def __post_init__(self) -> None:
        _check_chain(self.input_shape, self.layers)
        _check_whole("input_bits", self.input_bits, 1, 16)
        if not (math.isfinite(self.input_scale) and self.input_scale > 0):
            raise ValueError(f"input_scale must be positive, not {self.input_scale!r}")
        bits: int | None = self.input_bits
        signed = self.input_signed
        for layer in self.layers:
            if (layer.input_bits, layer.input_signed) != (bits, signed):
                raise ValueError(f"layer {layer.name!r} must take codes of {bits} bits, signed {signed}, "
                                 f"not of {layer.input_bits} bits, signed {layer.input_signed}")
            bits, signed = layer.output_bits, False
