"""Post-training quantisation: a float model and calibration data become an integer network.

The arithmetic is that of ``Layer``: with input scale ``s_x`` and the weight scale ``s_w`` of a kernel, a sum is worth
``s_w * s_x``, and the requantisation multiplies by ``m / 2**shift`` to get codes worth ``s_y``:

    s_w * s_x * 2**shift = m * s_y

Usually ``s_w`` is chosen first and m is rounded to fit, which adds a relative error of up to 1 / (2 m) to every code.
Here m is chosen first, as the smallest that lets the kernel's largest weight in, and ``s_w`` follows *exactly* from the
equation: the multiplier adds no error, a code is rounded once, and the weights' steps are wider than they must be by at
most 1 / m (between 2**-15 and 2**-10). The shift-only mode is the same with m = 1 for all kernels of a layer.

The last layer, where it has no ReLU, hands out its sums. All its kernels share one weight scale, so that sums rank like
scores. A last layer with ReLU hands out codes like any other.
"""

import math
from enum import Enum

import numpy as np

from ..hw.errors import ModelError
from .model import Clip, FloatLayer, FloatModel, MaxPool, Quantiser, Winners, quotient
from .network import Layer, Network, Scale

__all__ = ["MULTIPLIER_BITS", "Calibration", "Requantise", "input_codes", "quantise"]

MULTIPLIER_BITS = 16
_SMALLEST_MULTIPLIER = 2**10   # a kernel's weight steps are at least 1/64 of the widest kernel's: ample
_SMALLEST_RATIO = 2.0**-24     # of a sum's step to a code's: all codes at all positions could not add up to one step
_BIAS_BITS = 30                # of the last layer, whose bias must not make the sums wide when weights are tiny


class Requantise(Enum):
    """How sums become codes."""

    MULTIPLIER = "multiplier"   # an unsigned multiplier of `MULTIPLIER_BITS` bits a kernel, and a shift
    SHIFT = "shift"             # a shift alone; one scale for all kernels of a layer


class Calibration(Enum):
    """Which value of a layer's calibration outputs becomes the largest code."""

    MINMAX = "minmax"           # the largest
    PERCENTILE = "percentile"   # a percentile of the positive ones; the few above saturate


def quantise(
    model: FloatModel, calibration: np.ndarray | None, *, input_scale: float = 1.0, weight_bits: int = 8,
    activation_bits: int = 8, requantise: Requantise = Requantise.MULTIPLIER,
    method: Calibration = Calibration.PERCENTILE, percentile: float = 99.99,
) -> Network:
    """Choose scales and round the model to integers.

    Parameters
    ----------
    model : FloatModel
    calibration : real (n, ``*input_shape``) or (n, L), or None
        Typical inputs, as their file holds them. Integers that fit into ``activation_bits`` are the network's input
        codes as they stand, signed if one is negative, unless the model adds something to its input; otherwise the
        largest magnitude (of what the model's first layer sees) becomes the largest code.
    input_scale : float
        Real value = calibration x input_scale.
    weight_bits, activation_bits : int
        2 to 16 and 1 to 16.
    requantise : Requantise
    method : Calibration
    percentile : float
        Above 0, at most 100; only ``Calibration.PERCENTILE`` looks at it.

    Returns
    -------
    Network
        Ranges are rounded up to 16 significant bits, since the last bits of a float sum depend on the machine.

    Raises
    ------
    ModelError
        If ``calibration`` is None, or a layer has steps other than ReLU (perhaps with a ceiling), max-pooling and
        k-WTA, in this order, or the input has a quantiser.
    TypeError, ValueError
        If an argument is of the wrong kind or amount.
    """
    _check(weight_bits=weight_bits, activation_bits=activation_bits, percentile=percentile, input_scale=input_scale)
    if not isinstance(requantise, Requantise):
        raise TypeError(f"requantise must be a Requantise, not {requantise!r}")
    if not isinstance(method, Calibration):
        raise TypeError(f"method must be a Calibration, not {method!r}")
    if calibration is None:
        shape = ", ".join(map(str, model.input_shape))
        raise ModelError(f"model {model.name!r} is in floating point and needs calibration data: give "
                         f"--calibration X.npz with x of shape (n, {shape})")
    calibration = _check_calibration(calibration, model)
    if model.input_quantiser is not None:
        raise _trouble(model.input_quantiser, "is in front of a layer whose weights are in floating point: give a file "
                                              "that quantises both, or neither")
    gain, offset = model.input_gain, model.input_offset
    # What the first layer sees.
    value = gain * (calibration.reshape(len(calibration), -1).astype(np.float64) * input_scale) + offset
    if offset:
        scale, codes = _input_format(value, 1.0, activation_bits)
        network_scale = scale / gain
    else:
        network_scale, codes = _input_format(calibration, input_scale, activation_bits)
        scale = gain * network_scale
    network_range = codes
    layers: list[Layer] = []
    for number, layer in enumerate(model.layers):
        _check_steps(layer, last=number == len(model.layers) - 1)
        with np.errstate(over="ignore", invalid="ignore"):
            value = layer.run(value)
        _check_sizes(layer, value)
        if layer.relu:
            step = _round_up(_range(value, method=method, percentile=percentile) / (2**activation_bits - 1))
            integer, scale = _code_layer(
                layer, input_scale=scale, output_scale=step, weight_bits=weight_bits, codes=codes,
                output_bits=activation_bits, limit=1 if requantise is Requantise.SHIFT else 2**MULTIPLIER_BITS - 1)
        else:
            integer = _sum_layer(layer, input_scale=scale, weight_bits=weight_bits, codes=codes)
        layers.append(integer)
        codes = integer.output_range or codes
    return Network(
        name=model.name, input_shape=model.input_shape, input_range=network_range, input_scale=network_scale,
        input_origin=(0 - offset) / gain, layers=tuple(layers), sha256=model.sha256)


def _trouble(node: FloatLayer | Quantiser, reason: str) -> ModelError:
    return ModelError(f"node {node.name!r} ({node.op}) {reason}")


def _check_steps(layer: FloatLayer, *, last: bool) -> None:
    """See that a layer is what is quantised here: linear, ReLU (perhaps clipped above), max-pooling, k-WTA.

    The passes of intake leave this order, unless the file itself says something else.
    """
    kinds = [type(step) for step in layer.steps]
    if kinds != [kind for kind in (Clip, MaxPool, Winners) if kind in kinds] or not (
            layer.relu and _ceiling(layer) > 0 or last and not layer.steps):
        raise _trouble(layer, "must be followed by a Relu, then perhaps by MaxPool and k-WTA; the last layer may end "
                              "in its sums")


def _check_sizes(layer: FloatLayer, value: np.ndarray) -> None:
    """See that no scale of a layer, or quotient of two, can leave the range of float64."""
    weight, output = float(np.abs(layer.weights).max()), float(np.abs(value).max())
    if not (math.isfinite(output) and all(not size or 2.0**-256 <= size <= 2.0**256 for size in (weight, output))):
        raise _trouble(layer, f"has weights of up to {weight:.3g} and outputs of up to {output:.3g}; the nearest "
                              "supported form has both within 1e-77 to 1e77, or zero")


def _ceiling(layer: FloatLayer) -> float:
    """Greatest value that the ReLU lets through."""
    return next((step.high for step in layer.steps if isinstance(step, Clip)), math.inf)


def input_codes(network: Network, x: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Turn inputs into codes: ``(x * scale - input_origin) / input_scale``, rounded half to even and clamped to the
    code range. Without an origin the division is that of `dovetail.sw.model.quotient`.

    Parameters
    ----------
    network : Network
    x : real (n, ``*input_shape``) or (n, elements)
    scale : float
        Real value = x * scale.

    Returns
    -------
    int64 (n, elements)

    Raises
    ------
    ValueError
        If ``x`` has another shape or holds NaN or infinity.
    """
    x = np.asarray(x)
    length = math.prod(network.input_shape)
    if x.shape[1:] not in (network.input_shape, (length,)):
        raise ValueError(f"x must have shape {('n', *network.input_shape)!r}, not {x.shape!r}")
    if not np.isfinite(x).all():
        raise ValueError("x must hold finite numbers only")
    values = x.reshape(len(x), length).astype(np.float64)
    if network.input_origin:
        codes = (values * scale - network.input_origin) / network.input_scale
    else:
        codes = quotient(values * scale, network.input_scale)
    return np.rint(codes).clip(*network.input_range).astype(np.int64)


def _check(*, weight_bits: int, activation_bits: int, percentile: float, input_scale: float) -> None:
    for name, value, low in (("weight_bits", weight_bits, 2), ("activation_bits", activation_bits, 1)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        if not low <= value <= 16:
            raise ValueError(f"{name} must be {low} to 16, not {value!r}")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be above 0 and at most 100, not {percentile!r}")
    if not (math.isfinite(input_scale) and input_scale > 0):
        raise ValueError(f"input_scale must be positive, not {input_scale!r}")


def _check_calibration(calibration: np.ndarray, model: FloatModel) -> np.ndarray:
    calibration = np.asarray(calibration)
    if calibration.dtype.kind not in "iuf":
        raise TypeError(f"calibration must hold real numbers, not {calibration.dtype}")
    length = math.prod(model.input_shape)
    if not calibration.size or calibration.shape[1:] not in (model.input_shape, (length,)):
        raise ValueError(f"calibration must have shape {('n', *model.input_shape)!r}, not {calibration.shape!r}")
    if not np.isfinite(calibration).all():
        raise ValueError("calibration must hold finite numbers only")
    return calibration


def _input_format(calibration: np.ndarray, scale: float, bits: int) -> tuple[float, tuple[int, int]]:
    """Scale of the input codes, and the least and greatest of them."""
    low, high = calibration.min().item(), calibration.max().item()
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if low < 0 else (0, 2**bits - 1)
    if calibration.dtype.kind in "iu" and least <= low and high <= most:
        return scale, (least, most)
    # One signed bit has no positive code: its one step is then the whole magnitude.
    return _round_up((max(high, -low) or most) * scale / max(most, 1)), (least, most)


def _range(outputs: np.ndarray, *, method: Calibration, percentile: float) -> float:
    """Value that becomes the largest code; 1 where the layer never fires, since then any will do."""
    positive = outputs[outputs > 0]
    if not positive.size:
        return 1.0
    return float(positive.max() if method is Calibration.MINMAX else np.percentile(positive, percentile))


def _round_up(value: float) -> float:
    """Next number with 16 significant bits, so that the last bits of a float sum do not decide what is built."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(math.ldexp(mantissa, 16)), exponent - 16)


def _codes(layer: FloatLayer, scale: np.ndarray, weight_bits: int) -> np.ndarray:
    most = 2 ** (weight_bits - 1) - 1
    return np.rint(layer.weights / scale[:, np.newaxis]).clip(-most, most).astype(np.int64)


def _code_layer(
    layer: FloatLayer, *, input_scale: float, output_scale: float, weight_bits: int, codes: tuple[int, int],
    output_bits: int, limit: int,
) -> tuple[Layer, float]:
    """Layer with ReLU, and the scale of its codes. ``limit`` is the largest multiplier; 1 is shift-only."""
    most = 2 ** (weight_bits - 1) - 1
    # Without a weight, or with next to none, a kernel's sum is its bias: it takes the smallest ratio that is allowed.
    ratio = (np.abs(layer.weights).max(axis=1) / most * input_scale / output_scale).clip(min=_SMALLEST_RATIO)
    largest = float(ratio.max())
    # Codes finer than the sums themselves are of no use; and where only a shift is left, the codes' step grows, by less
    # than two, until the ratio is a power of two. (Growing the weights' step instead costs more accuracy: measured.)
    wanted = min(largest if limit > 1 else 2.0 ** math.floor(math.log2(largest)), float(limit))
    output_scale, ratio = output_scale * (largest / wanted), ratio * (wanted / largest)
    shift = math.floor(math.log2(limit / wanted))
    multiplier = np.ceil(np.ldexp(ratio, shift)).clip(min(_SMALLEST_MULTIPLIER, limit), limit)
    scale = np.ldexp(multiplier, -shift) * output_scale / input_scale
    weights = _codes(layer, scale, weight_bits)
    # Where the codes' step has grown, a ReLU's ceiling is below the largest code that fits.
    high = max(1, round(min(2**output_bits - 1, _ceiling(layer) / output_scale)))
    # Sums of this size and more have the largest code.
    enough = np.ceil(np.ldexp(float(high), shift) / multiplier)
    bias = _useful_bias(np.rint(layer.bias / (scale * input_scale)), weights, enough, codes)
    stage = Scale(multiplier=None if limit == 1 else multiplier.astype(np.int64), offset=1 << shift >> 1, shift=shift,
                  low=0, high=high)
    integer = Layer(
        name=layer.name, op=layer.op, weights=weights, mask=layer.mask, weight_bits=weight_bits, bias=bias,
        input_range=codes, window=layer.window, stages=(stage,), pool=layer.pool, winners=layer.winners,
        output_scale=output_scale)
    return integer, output_scale


def _useful_bias(
    bias: np.ndarray, weights: np.ndarray, enough: np.ndarray, codes: tuple[int, int],
) -> np.ndarray:
    """Clamp a bias beyond which no input could change the code any more; every code stays the same.

    It keeps the accumulators narrow where batch normalisation has switched a kernel off with a large offset.
    """
    low, high = codes
    least = np.minimum(weights * low, weights * high).sum(axis=1)
    most = np.maximum(weights * low, weights * high).sum(axis=1)
    return bias.clip(-most, enough - least).astype(np.int64)


def _sum_layer(layer: FloatLayer, *, input_scale: float, weight_bits: int, codes: tuple[int, int]) -> Layer:
    """Last layer without ReLU: sums, with one scale for all kernels."""
    most = 2 ** (weight_bits - 1) - 1
    step = max(float(np.abs(layer.weights).max()) / most,
               float(np.abs(layer.bias).max()) / input_scale / 2**_BIAS_BITS) or 1.0
    return Layer(
        name=layer.name, op=layer.op, weights=_codes(layer, np.full(layer.kernels, step), weight_bits), mask=layer.mask,
        weight_bits=weight_bits, bias=np.rint(layer.bias / (step * input_scale)).astype(np.int64), input_range=codes,
        window=layer.window, output_scale=step * input_scale)
