"""From a model that states its integers to the integer network, exactly.

A layer of such a model multiplies codes by codes, so that its sum is an integer times a known unit. What follows, up to
the codes of the quantiser behind it, is a staircase over that integer; `staircase` finds its steps by asking the model,
and `fit` looks for hardware with the same steps. The result equals the model on every possible sum, or says by how much
it misses.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ..hw.errors import ModelError
from .fit import MOST_THRESHOLDS, Fit, fit
from .model import Affine, Clip, FloatLayer, FloatModel, MaxPool, Quantiser, Rounding, Step, Winners
from .network import Exactness, Layer, Network, Scale, range_bits
from .staircase import falling, staircase

__all__ = ["describe", "exact_network"]

_EXACT_SUM = 2**52      # sums up to here are exact in float64
_SUM_BIAS = 2**30       # of a last layer, whose bias must not make the sums wide
_WIDEST = 62            # bits of a sum and a multiplier together
_QUANTISER = "put QuantizeLinear and DequantizeLinear (or Quant) behind it"
_WEAKEST = (Exactness.NEAREST, Exactness.MULTIPLIER, Exactness.THRESHOLDS, Exactness.SHIFT)


def exact_network(
    model: FloatModel, *, calibration: np.ndarray | None = None, input_scale: float = 1.0, input_bits: int = 8,
) -> Network:
    """Turn a model whose weights and activations are on grids into integers.

    Parameters
    ----------
    model : FloatModel
        Every layer has ``codes``, and a quantiser behind it; the last may hand out its sums.
    calibration : real (n, ``*input_shape``) or (n, L), or None
        Typical inputs; looked at only where the model does not quantise its input itself. Integers that fit into
        ``input_bits`` are the network's input codes as they stand, signed if one is negative; otherwise the codes' step
        is the smallest power of two with which the largest magnitude fits.
    input_scale : float
        Real value = calibration x input_scale.
    input_bits : int
        1 to 16.

    Raises
    ------
    ModelError
        If there is no such network: names the node, the reason and the nearest form that works.
    TypeError, ValueError
        If an argument is of the wrong kind or amount.
    """
    if not isinstance(input_bits, int) or isinstance(input_bits, bool):
        raise TypeError(f"input_bits must be an integer, not {input_bits!r}")
    if not 1 <= input_bits <= 16:
        raise ValueError(f"input_bits must be 1 to 16, not {input_bits!r}")
    if not (math.isfinite(input_scale) and input_scale > 0):
        raise ValueError(f"input_scale must be positive, not {input_scale!r}")
    taken = _input(model, calibration, input_scale, input_bits)
    scale, codes, layers = taken.unit, taken.codes, []
    for number, layer in enumerate(model.layers):
        last = number == len(model.layers) - 1
        integer = _exact_layer(layer, scale, codes, last=last)
        layers.append(integer)
        if not last:
            scale, codes = layer.quantisers[-1].scale, integer.output_range or codes
    return Network(
        name=model.name, input_shape=model.input_shape, input_range=taken.codes, input_scale=taken.scale,
        input_origin=taken.origin, layers=tuple(layers), sha256=model.sha256)


def describe(layer: Layer) -> str:
    """Say in a few words how a layer's sums become codes, and how well that is what the model says."""
    if not layer.stages:
        return "sums"
    parts = []
    for stage in layer.stages:
        if not isinstance(stage, Scale):
            parts.append(f"{stage.values.shape[1]}")
        elif stage.multiplier is None:
            parts.append(f"shift {stage.shift}")
        else:
            parts.append(f"{stage.multiplier_bits} bits, shift {stage.shift}")
    text = f"{layer.exactness.value} ({', then '.join(parts)})"
    count, distance = layer.misplaced
    if count:
        total = sum(layer.kernels * (stage.high - stage.low) for stage in layer.stages)
        steps = "one step" if distance == 1 else f"up to {distance:,} steps"
        text += f": {count:,} of {total:,} thresholds {steps} off"
    return text


def _refuse(node: FloatLayer | Step, reason: str) -> ModelError:
    return ModelError(f"node {node.name!r} ({node.op}) {reason}")


@dataclass(frozen=True, kw_only=True)
class _Input:
    """Codes of the input: their range, what one is worth to the first layer, and how the host makes them."""

    codes: tuple[int, int]
    unit: float
    scale: float
    origin: float = 0.0


def _input(model: FloatModel, calibration: np.ndarray | None, input_scale: float, bits: int) -> _Input:
    gain, offset, quantiser = model.input_gain, model.input_offset, model.input_quantiser
    origin = -offset / gain if offset else 0.0
    if quantiser is not None:
        if quantiser.rounding is not Rounding.HALF_EVEN or quantiser.zero % 2:
            raise _refuse(quantiser, f"rounds the input by {quantiser.rounding.name} with a zero point of "
                          f"{quantiser.zero}; use ROUND, and an even zero point")
        return _Input(codes=_code_range(quantiser), unit=quantiser.scale, scale=quantiser.scale / gain, origin=origin)
    if calibration is None:
        raise ModelError(f"model {model.name!r} needs --calibration: the file does not say how its input is quantised")
    calibration = np.asarray(calibration)
    if calibration.dtype.kind not in "iuf":
        raise TypeError(f"calibration must hold real numbers, not {calibration.dtype}")
    if not calibration.size or calibration.shape[1:] not in (model.input_shape, (math.prod(model.input_shape),)):
        raise ValueError(f"calibration must have shape {('n', *model.input_shape)!r}, not {calibration.shape!r}")
    if not np.isfinite(calibration).all():
        raise ValueError("calibration must hold finite numbers only")
    low, high = calibration.min().item(), calibration.max().item()
    codes = _whole_range(low, bits)
    if calibration.dtype.kind in "iu" and not offset and codes[0] <= low and high <= codes[1]:
        return _Input(codes=codes, unit=gain * input_scale, scale=input_scale)
    low, high = (gain * (input_scale * bound) + offset for bound in (low, high))
    codes = _whole_range(low, bits)
    # One signed bit has no positive code: its one step is then the whole magnitude.
    step = 2.0 ** math.ceil(math.log2(max(high, -low) / max(codes[1], 1))) if high or low else 1.0
    return _Input(codes=codes, unit=step, scale=step / gain, origin=origin)


def _whole_range(low: float, bits: int) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if low < 0 else (0, 2**bits - 1)


def _code_range(quantiser: Quantiser) -> tuple[int, int]:
    """Least and greatest code, which must be what a stage can have."""
    low, high = quantiser.low, quantiser.high
    if not low <= 0 < high:
        raise _refuse(quantiser, f"has codes of {low} to {high}; they must be on both sides of a half, with a code for "
                      "zero")
    if low < -(2**15) or high >= 2**16:
        raise _refuse(quantiser, f"has codes of {low} to {high} around zero; they must be within -32768 to 65535")
    return low, high


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """Steps of a layer, by what the hardware does with them.

    Members
    -------
    groups : tuple of tuple of Step
        Element-wise steps that become a stage, each group up to its quantiser.
    low, high : int
        What is left of the last quantiser's codes.
    tail : tuple of Affine
        What is done with the codes, or sums, that leave.
    pool : MaxPool or None
    winners : Winners or None
    """

    groups: tuple[tuple[Step, ...], ...] = ()
    low: int = 0
    high: int = 0
    tail: tuple[Affine, ...] = ()
    pool: MaxPool | None = None
    winners: Winners | None = None


def _sort(layer: FloatLayer, *, last: bool) -> _Steps:
    """Sort the steps of a layer, or say which is at the wrong place."""
    quantisers = layer.quantisers
    if not quantisers and not last:
        raise _refuse(layer, f"is not quantised before the next layer; {_QUANTISER}")
    groups: list[tuple[Step, ...]] = []
    group: list[Step] = []
    tail: list[Affine] = []
    pool, winners = None, None
    low, high = _code_range(quantisers[-1]) if quantisers else (0, 0)
    for step in layer.steps:
        ended = len(groups) == len(quantisers)
        if winners is not None:
            raise _refuse(step, "is behind a k-WTA; put it in front")
        match step:
            case Affine() if ended:
                if not last or quantisers and step.scale.min() <= 0:
                    raise _refuse(step, f"scales codes; {_QUANTISER}")
                tail.append(step)
            case MaxPool() if quantisers and not tail:
                if pool is not None:
                    raise _refuse(step, "is the second MaxPool; there can be one behind a layer")
                pool = step
            case Winners() if quantisers and ended and not tail:
                if low < 0:
                    raise _refuse(step, "ranks codes that can be negative; put Relu in front")
                winners = step
            case Clip() if quantisers and ended and not tail:
                low, high = _clipped(step, quantisers[-1], low, high)
            case Clip() | MaxPool() | Winners() if ended:
                raise _refuse(step, f"takes values without codes; {_QUANTISER}")
            case Winners():
                raise _refuse(step, "takes values without codes; put it behind the quantiser")
            case Quantiser():
                _code_range(step)
                groups.append((*group, step))
                group = []
            case _:
                group.append(step)
    _check_pool(layer, pool)
    if groups:
        counts = [*(step.high - step.low for step in quantisers[:-1]), high - low]
        # So few thresholds can be anywhere: one stage does what all the quantisers up to there do.
        ends = max((number for number, count in enumerate(counts) if count <= MOST_THRESHOLDS), default=0) + 1
        groups = [tuple(step for group in groups[:ends] for step in group), *groups[ends:]]
    return _Steps(groups=tuple(groups), low=low, high=high, tail=tuple(tail), pool=pool, winners=winners)


def _check_pool(layer: FloatLayer, pool: MaxPool | None) -> None:
    """See that pooling can be moved to the end: nothing behind it falls."""
    if pool is None:
        return
    behind = layer.steps[layer.steps.index(pool) + 1:]
    if falling(behind, layer.kernels).any():
        step = next(step for step in behind if isinstance(step, Affine) and (step.scale < 0).any())
        raise _refuse(step, "has negative scales behind a MaxPool; put BatchNormalization before MaxPool")


def _clipped(clip: Clip, quantiser: Quantiser, low: int, high: int) -> tuple[int, int]:
    """Range of codes behind a Clip that follows the quantiser."""
    bounds = max(clip.low / quantiser.scale, low), min(clip.high / quantiser.scale, high)
    codes = round(bounds[0]), round(bounds[1])
    if max(abs(bound - code) for bound, code in zip(bounds, codes, strict=True)) > 1e-9 or not codes[0] <= 0 < codes[1]:
        raise _refuse(clip, f"leaves codes of {bounds[0]:.6g} to {bounds[1]:.6g}; put it in front of the quantiser, or "
                      "clip at codes on both sides of a half")
    return codes


def _exact_layer(layer: FloatLayer, scale: float, codes: tuple[int, int], *, last: bool) -> Layer:
    """Layer in integers, from codes that are worth ``scale``."""
    if layer.codes is None or layer.scale is None:
        raise _refuse(layer, "has weights in floating point, where others are quantised; put DequantizeLinear (or "
                      "Quant) between the weights and it")
    steps = _sort(layer, last=last)
    falls = falling(steps.groups[0] if steps.groups else steps.tail, layer.kernels)
    weights = np.where(falls[:, np.newaxis], -layer.codes, layer.codes)
    bits = max(2, range_bits(min(-1, int(weights.min())), max(0, int(weights.max())))[0])
    if bits > 17:
        raise _refuse(layer, f"has weights of {bits} bits; at most 17")
    unit = layer.scale * scale
    if not (unit > 0).all():
        raise _refuse(layer, "has scales too small for floating point; scales of a sensible size are needed")
    least, most = (choose(weights * codes[0], weights * codes[1]).sum(axis=1) for choose in (np.minimum, np.maximum))
    if max(-int(least.min()), int(most.max())) > _EXACT_SUM:
        raise _refuse(layer, f"has sums of more than {_EXACT_SUM.bit_length()} bits, which floating point cannot hold")
    common = Layer(
        name=layer.name, op=layer.op, weights=weights, mask=weights != 0, weight_bits=bits,
        bias=np.zeros(layer.kernels, dtype=np.int64), input_range=codes, window=layer.window,
        exactness=Exactness.SHIFT, output_scale=1.0)
    if not steps.groups:
        return _sums(common, layer, steps.tail, unit)
    fits = _fits(layer, steps, unit, least, most)
    if len(fits) > 1 and any(part.exactness is Exactness.NEAREST for part in fits):
        _check_together(layer, steps, fits, unit, least, most)
    integer = _widened(layer, common, fits)
    output_scale, output_offset = _tail(
        layer, steps.tail, np.full(layer.kernels, layer.quantisers[-1].scale), np.zeros(layer.kernels))
    return replace(
        integer, pool=None if steps.pool is None else steps.pool.window,
        winners=None if steps.winners is None else steps.winners.winners,
        output_scale=_one(output_scale), output_offset=_one(output_offset))


def _fits(
    layer: FloatLayer, steps: _Steps, unit: np.ndarray, least: np.ndarray, most: np.ndarray,
) -> list[Fit]:
    """A stage for every group of steps."""
    fits: list[Fit] = []
    offset = layer.bias
    for number, group in enumerate(steps.groups):
        quantiser = group[-1]
        if not isinstance(quantiser, Quantiser):
            raise TypeError(f"group must end in a Quantiser, not {quantiser!r}")
        ends = number == len(steps.groups) - 1
        low, high = (steps.low, steps.high) if ends else (quantiser.low, quantiser.high)
        wanted = staircase(layer, group, unit=unit, offset=offset, least=least, most=most, low=low, high=high)
        if number == 0:
            # The weights of such kernels are negated: their sum is already the negative.
            wanted = replace(wanted, falls=np.zeros(layer.kernels, dtype=bool))
        found = fit(wanted, biased=number == 0)
        if found is None:
            raise _refuse(quantiser, "is more than a code away from every multiplication, shift and clamp; put "
                          "BatchNormalization before Relu and Clip, so that all kernels are clipped at the same code")
        fits.append(found)
        unit, offset = np.full(layer.kernels, quantiser.scale), np.zeros(layer.kernels)
        if not ends:
            falls = falling(steps.groups[number + 1], layer.kernels)
            low, high = found.stage.low, found.stage.high
            least, most = np.where(falls, -high, low), np.where(falls, -low, high)
    return fits


def _check_together(
    layer: FloatLayer, steps: _Steps, fits: list[Fit], unit: np.ndarray, least: np.ndarray, most: np.ndarray,
) -> None:
    """See that several stages, of which some are but the nearest, together are at most one code off.

    Both functions are monotone, so that they differ the most where the file's begins a code, or ends one.
    """
    every = tuple(step for group in steps.groups for step in group)
    turned = falling(every, layer.kernels) ^ falling(steps.groups[0], layer.kernels)
    least, most = np.where(turned, -most, least), np.where(turned, -least, most)
    wanted = staircase(
        layer, every, unit=unit, offset=layer.bias, least=least, most=most, low=steps.low, high=steps.high)

    def codes_of(x: np.ndarray) -> np.ndarray:
        x = np.where(turned, -x, x) + fits[0].bias
        for part in fits:
            x = part.stage.apply(x)
        return x

    codes = wanted.codes[:, np.newaxis]
    late = (wanted.thresholds <= most) & (codes_of(wanted.thresholds.clip(least, most)) < codes - 1)
    early = (wanted.thresholds > least) & (codes_of((wanted.thresholds - 1).clip(least, most)) > codes)
    if (late | early).any():
        raise _refuse(layer.quantisers[-1], "turns one code too few or too many of the quantiser before it, whose "
                      "stage is but the nearest, into several; the nearest supported form has one quantiser there")


def _widened(layer: FloatLayer, common: Layer, fits: list[Fit]) -> Layer:
    """Layer with its bias and stages, once their widths are known to be possible."""
    bias = fits[0].bias
    most = max(stage.multiplier_bits if isinstance(stage := part.stage, Scale) else 0 for part in fits[:1])
    bits = replace(common, bias=bias).sum_bits if np.abs(bias).max() < 2**60 else int(np.abs(bias).max()).bit_length()
    if bits + most > _WIDEST:
        raise _refuse(layer, f"needs sums of {bits} bits and multipliers of {most} bits, together more than {_WIDEST}; "
                      "scales and offsets of a sensible size are needed")
    exactness = next(kind for kind in _WEAKEST if any(part.exactness is kind for part in fits))
    return replace(
        common, bias=bias, stages=tuple(part.stage for part in fits), exactness=exactness,
        misplaced=(sum(part.misplaced for part in fits), max(part.distance for part in fits)))


def _sums(common: Layer, layer: FloatLayer, tail: tuple[Affine, ...], unit: np.ndarray) -> Layer:
    """Last layer that hands out its sums: what follows is their unit and offset."""
    scale, offset = _tail(layer, tail, unit, layer.bias)
    constant = scale == 0
    weights = np.where(constant[:, np.newaxis], 0, common.weights)
    scale = np.where(constant, unit, np.abs(scale))
    with np.errstate(over="ignore"):
        bias = np.rint(offset / scale).clip(-_SUM_BIAS, _SUM_BIAS)
        whole = bias * scale == offset
    return replace(
        common, weights=weights, mask=weights != 0, bias=np.where(whole, bias, 0).astype(np.int64),
        output_scale=_one(scale), output_offset=_one(np.where(whole, 0.0, offset)))


def _tail(
    layer: FloatLayer, tail: tuple[Affine, ...], scale: np.ndarray, offset: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of real values, after what is done with them."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in tail:
            scale = scale * step.scale / step.divisor
            offset = offset * step.scale / step.divisor + step.offset
    lost = (scale == 0) & np.all([step.scale != 0 for step in tail], axis=0)
    if lost.any() or not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        raise _refuse(layer, "has scores too large or too small for floating point; scales of a sensible size are "
                      "needed")
    return scale, offset


def _one(values: np.ndarray) -> float | np.ndarray:
    """One number where it is the same for all kernels."""
    return float(values[0]) if (values == values[0]).all() else values
