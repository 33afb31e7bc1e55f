"""The model as its file states it, in floating point: layers of one linear step and the element-wise steps behind it.

A file in plain floating point and a file with quantisers in it (QDQ, QONNX) become the same records; a quantiser is one
more element-wise step. Running the record is the straightforward evaluation of the file, in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from .checks import check_shape, check_whole, frozen
from .window import Window, max_pool

__all__ = [
    "Affine", "Clip", "FloatLayer", "FloatModel", "Head", "MaxPool", "Quantiser", "Rounding", "Step", "Winners",
    "k_winners", "quotient",
]


class Rounding(Enum):
    """How a quantiser rounds; the names are QONNX's, as far as it has one."""

    HALF_EVEN = "ROUND"
    HALF_UP = "HALF_UP"         # a half goes away from zero
    HALF_DOWN = "HALF_DOWN"     # a half goes towards zero
    FLOOR = "FLOOR"
    CEIL = "CEIL"
    UP = "UP"                   # away from zero
    DOWN = "DOWN"               # towards zero
    SIGN = "SIGN"               # 1 from zero on, else -1: one-bit networks


def _to_nearest(x: np.ndarray, half: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    """Nearest integer, away from zero where ``half(fraction, 0.5)``; exact, as adding a half to ``x`` is not."""
    whole = np.trunc(x)
    return whole + np.copysign(half(np.abs(x - whole), 0.5), x)


_ROUND: dict[Rounding, Callable[[np.ndarray], np.ndarray]] = {
    Rounding.HALF_EVEN: np.rint,
    Rounding.HALF_UP: lambda x: _to_nearest(x, np.greater_equal),
    Rounding.HALF_DOWN: lambda x: _to_nearest(x, np.greater),
    Rounding.FLOOR: np.floor,
    Rounding.CEIL: np.ceil,
    Rounding.UP: lambda x: np.copysign(np.ceil(np.abs(x)), x),
    Rounding.DOWN: np.trunc,
    Rounding.SIGN: lambda x: np.where(x >= 0, 1.0, -1.0),
}


class Head(Enum):
    """What the file does with the scores, and the host with the hardware's results."""

    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log-softmax"
    SIGMOID = "sigmoid"
    ARGMAX = "argmax"


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


def quotient(x: np.ndarray, scale: float) -> np.ndarray:
    """``x / scale``, in float32 where the scale is a float32 number.

    Files quantise their input so, and bytes over 255 meet ties often enough that the last bit of the quotient decides
    codes: a runtime's codes are only met by dividing as it does.
    """
    single = np.float32(scale)
    if float(single) != scale:
        return x / scale
    return (np.asarray(x, np.float32) / single).astype(np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Affine:
    """``scale * x / divisor + offset`` for each kernel: batch normalisation, arithmetic with constants, averages.

    A divisor of its own, since a rounded reciprocal would move values off the ties between two codes.

    Members
    -------
    name, op : str
    scale, offset : float64 (M,)
    divisor : float64 (M,)
        Positive; a single number, as where it is left out, stands for all kernels.
    """

    name: str
    op: str
    scale: np.ndarray
    offset: np.ndarray
    divisor: np.ndarray = field(default_factory=lambda: np.ones(1))

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", frozen("scale", self.scale, np.float64))
        object.__setattr__(self, "offset", frozen("offset", self.offset, np.float64, self.scale.shape))
        divisor = np.full(self.scale.shape, self.divisor) if np.size(self.divisor) == 1 else self.divisor
        object.__setattr__(self, "divisor", frozen("divisor", divisor, np.float64, self.scale.shape))
        if self.divisor.min() <= 0:
            raise ValueError(f"divisor must be positive, not {float(self.divisor.min())!r}")

    @property
    def slope(self) -> np.ndarray:
        """``scale / divisor``, rounded."""
        return self.scale / self.divisor


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Each element clamped to ``low .. high``; ReLU is 0 to infinity."""

    name: str
    op: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"low must be at most high ({self.high!r}), not {self.low!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantiser:
    """``scale * clamp(round(x / scale + zero) - zero, low, high)``, one scale for the whole tensor.

    Its codes are ``clamp(round(x / scale + zero) - zero, low, high)``: those of the file less its zero point, so that a
    real zero is always the code 0. (``zero`` is added before rounding because it decides ties, and which way is away
    from zero; ONNX's QuantizeLinear adds the zero point after rounding, so ``zero`` is 0 there and the zero point only
    moves ``low`` and ``high``.)
    With ``Rounding.SIGN`` the codes are 1 where ``x`` is not negative, and -1.

    Members
    -------
    scale : float
    zero, low, high : int
    rounding : Rounding
    """

    name: str
    op: str
    scale: float
    zero: int = 0
    low: int
    high: int
    rounding: Rounding = Rounding.HALF_EVEN

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be positive, not {self.scale!r}")
        check_whole("zero", self.zero, -(2**31), 2**31)
        check_whole("low", self.low, -(2**17), 2**17)
        check_whole("high", self.high, self.low, 2**17)

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Codes of real values, as float64."""
        return self._round(x if self.rounding is Rounding.SIGN else x / self.scale)

    def input_codes(self, x: np.ndarray) -> np.ndarray:
        """Codes of a model's input, as float64: with the division of `quotient`."""
        return self._round(x if self.rounding is Rounding.SIGN else quotient(x, self.scale))

    def _round(self, ratio: np.ndarray) -> np.ndarray:
        if self.rounding is Rounding.SIGN:
            return _ROUND[self.rounding](ratio)
        return np.clip(_ROUND[self.rounding](ratio + self.zero) - self.zero, self.low, self.high)


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool:
    """The greatest element of every window, channel by channel."""

    name: str
    op: str
    window: Window

    def __post_init__(self) -> None:
        if not self.window.covered:
            raise ValueError(f"window must not have windows in the padding alone, with pads {self.window.pads!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Winners:
    """k-WTA: the ``winners`` largest of all kernels stay (at each pixel of an image), the others become zero."""

    name: str
    op: str
    winners: int


Step = Affine | Clip | Quantiser | MaxPool | Winners


def _columns(array: np.ndarray, values: np.ndarray, kernels: int) -> np.ndarray:
    """A number a kernel, spread over (n, kernels * pixels)."""
    return np.repeat(array, values.shape[1] // kernels)


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatLayer:
    """``weights @ x + bias``, for a vector or for every window of an image, and what follows it.

    Members
    -------
    name, op : str
        Of the ONNX node that multiplies.
    weights : float64 (M, L)
        One row a kernel. An exact zero is no weight.
    bias : float64 (M,)
    codes, scale : int64 (M, L) and float64 (M,), or None
        Where the file states integer weights: ``weights = codes * scale`` by kernel.
    window : Window or None
        Of a convolution; the output then is an image of M channels.
    steps : tuple of Step
        What follows, in order.
    """

    name: str
    op: str
    weights: np.ndarray
    bias: np.ndarray
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None
    window: Window | None = None
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", frozen("weights", self.weights, np.float64, ndim=2))
        object.__setattr__(self, "bias", frozen("bias", self.bias, np.float64, (self.kernels,)))
        if (self.codes is None) != (self.scale is None):
            raise ValueError("codes and scale must be given together")
        if self.codes is not None and self.scale is not None:
            object.__setattr__(self, "codes", frozen("codes", self.codes, np.int64, self.weights.shape))
            object.__setattr__(self, "scale", frozen("scale", self.scale, np.float64, (self.kernels,)))
            if self.scale.min() <= 0:
                raise ValueError(f"scale must be positive, not {float(self.scale.min())!r}")
        if self.window is not None and self.window.positions != self.positions:
            raise ValueError(f"window must have {self.positions} positions, not {self.window.positions}")
        shape = (1, 1) if self.window is None else self.window.output_size
        for step in self.steps:
            match step:
                case Affine(scale=scale) if scale.shape != (self.kernels,):
                    raise ValueError(f"step {step.name!r} must have {self.kernels} scales, not {scale.shape!r}")
                case MaxPool(window=window):
                    if self.window is None:
                        raise ValueError(f"step {step.name!r} must follow a convolution")
                    if (window.channels, window.height, window.width) != (self.kernels, *shape):
                        raise ValueError(f"step {step.name!r} must pool an image of {(self.kernels, *shape)!r}")
                    shape = window.output_size
                case Winners(winners=winners):
                    check_whole("winners", winners, 1, self.kernels)

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
        """Elements of one input."""
        return self.positions if self.window is None else self.window.inputs

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(M,), or (M, height, width) of an image."""
        if self.window is None:
            return (self.kernels,)
        size = self.window.output_size
        for step in self.steps:
            if isinstance(step, MaxPool):
                size = step.window.output_size
        return (self.kernels, *size)

    @property
    def mask(self) -> np.ndarray:
        """Where there is a weight, bool (M, L). Folding only ever scales weights, so zeros of the model stay zeros."""
        return self.weights != 0

    @property
    def relu(self) -> bool:
        """Whether what leaves the layer is never negative because of a ReLU."""
        return any(isinstance(step, Clip) and step.low == 0 for step in self.steps)

    @property
    def winners(self) -> int | None:
        """K of the k-WTA."""
        return next((step.winners for step in self.steps if isinstance(step, Winners)), None)

    @property
    def pool(self) -> Window | None:
        """Windows of the max-pooling."""
        return next((step.window for step in self.steps if isinstance(step, MaxPool)), None)

    @property
    def quantisers(self) -> tuple[Quantiser, ...]:
        """Quantisers behind the linear step, in order."""
        return tuple(step for step in self.steps if isinstance(step, Quantiser))

    def run(self, x: np.ndarray) -> np.ndarray:
        """Compute real outputs (n, elements of ``output_shape``) of real inputs (n, inputs)."""
        if self.window is None:
            return self.apply(x @ self.weights.T + self.bias)
        sums = self.window.gather(x) @ self.weights.T + self.bias
        return self.apply(sums.transpose(0, 2, 1).reshape(len(x), self.kernels * sums.shape[1]))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Apply the steps to what leaves the linear step, (n, M) or (n, M * pixels)."""
        for step in self.steps:
            match step:
                case Affine():
                    scale, divisor, offset = (_columns(array, values, self.kernels)
                                              for array in (step.scale, step.divisor, step.offset))
                    values = scale * values / divisor + offset
                case Clip(low=low, high=high):
                    values = np.clip(values, low, high)
                case Quantiser():
                    values = step.scale * step.codes(values)
                case MaxPool(window=window):
                    values = max_pool(window, values)
                case Winners(winners=winners):
                    # Channel by channel to pixel by pixel, and back.
                    pixels = values.reshape(len(values), self.kernels, values.shape[1] // self.kernels)
                    pixels = pixels.transpose(0, 2, 1)
                    kept = k_winners(pixels.reshape(-1, self.kernels), winners).reshape(pixels.shape)
                    values = kept.transpose(0, 2, 1).reshape(values.shape)
        return values


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatModel:
    """A feed-forward network in floating point.

    Members
    -------
    name : str
    input_shape : tuple of int
        Shape of one input, without the batch.
    input_gain, input_offset : float
        The first layer, or the quantiser before it, sees ``gain * x + offset``.
    input_quantiser : Quantiser or None
        What the file does to that.
    layers : tuple of FloatLayer
        Each takes the flattened output of the one before, row by row.
    head : Head or None
        What the file does with the scores; not part of `run`.
    sha256 : str
        Of the bytes of the file, in hexadecimal.
    """

    name: str
    input_shape: tuple[int, ...]
    input_gain: float = 1.0
    input_offset: float = 0.0
    input_quantiser: Quantiser | None = None
    layers: tuple[FloatLayer, ...]
    head: Head | None = None
    sha256: str

    def __post_init__(self) -> None:
        check_shape(self.input_shape)
        if not 0 < self.input_gain < math.inf:
            raise ValueError(f"input_gain must be positive, not {self.input_gain!r}")
        if not math.isfinite(self.input_offset):
            raise ValueError(f"input_offset must be finite, not {self.input_offset!r}")
        if not self.layers:
            raise ValueError("layers must hold at least one layer, not ()")
        length = math.prod(self.input_shape)
        for layer in self.layers:
            if layer.inputs != length:
                raise ValueError(f"layer {layer.name!r} must take {length} elements, not {layer.inputs!r}")
            length = math.prod(layer.output_shape)
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError(f"layer names must be unique, not {names!r}")

    @property
    def quantised(self) -> bool:
        """Whether the file itself states integers: weights on a grid, and quantisers between the layers."""
        return any(layer.codes is not None for layer in self.layers)

    def first_input(self, x: np.ndarray) -> np.ndarray:
        """What the first layer sees of real inputs (n, elements)."""
        quantiser = self.input_quantiser
        if quantiser is None:
            return self.input_gain * x + self.input_offset
        if self.input_gain == 1 and self.input_offset == 0:
            return quantiser.scale * quantiser.input_codes(x)
        return quantiser.scale * quantiser.codes(self.input_gain * x + self.input_offset)

    def run(self, x: np.ndarray) -> list[np.ndarray]:
        """Compute every layer's output.

        Parameters
        ----------
        x : array (n, ``*input_shape``) or (n, elements)
            Real values, not codes.

        Returns
        -------
        list of float64 (n, elements)
            One array a layer, flattened row by row; the last holds the scores.

        Raises
        ------
        ValueError
            If ``x`` has another shape.
        """
        length = math.prod(self.input_shape)
        x = np.asarray(x, dtype=np.float64)
        if x.shape[1:] not in (self.input_shape, (length,)):
            raise ValueError(f"x must have shape {('n', *self.input_shape)!r}, not {x.shape!r}")
        value, outputs = self.first_input(x.reshape(len(x), length)), []
        for layer in self.layers:
            value = layer.run(value)
            outputs.append(value)
        return outputs
