"""Clean-up before packing: kernels that no input can change, or that nothing looks at, are left out."""

from dataclasses import dataclass, replace

import numpy as np

from .network import Layer, Network, Scale, Stage, Thresholds

__all__ = ["Cleaned", "clean"]


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """How many kernels and positions of one layer were found to be of which kind.

    Members
    -------
    name : str
    constant : int
        Kernels whose output is the same for every input.
    dead : int
        Kernels that no kernel of the next layer has a weight for. Some may be constant too.
    removed : int
        Constant or dead kernels that were left out; ``Layer.origin`` tells the others. Those of the last layer stay,
        as do those that k-WTA lets compete with others, and constants other than zero before a padded convolution,
        whose padding is zero.
    duplicates : int
        Kernels left that equal one before them in weights, bias and requantisation. They stay.
    dead_positions : int
        Positions, as the layer was given, for which no kernel that is left has a weight. The kernels before that make
        them are ``dead`` ones; in the first layer they are elements of the input, which stay.
    """

    name: str
    constant: int
    dead: int
    removed: int
    duplicates: int
    dead_positions: int


def clean(network: Network) -> tuple[Network, tuple[Cleaned, ...]]:
    """Leave out constant and dead kernels.

    A kernel is constant where its code is the same at both ends of the range of its sums: every stage is monotonic. The
    code 0 simply goes (before k-WTA too, where a zero never wins); another code goes into the biases of the next layer.
    Both are repeated until nothing changes, since a kernel that goes may have been the last to look at another, and a
    bias may make the next one constant. At least one kernel a layer stays.

    Parameters
    ----------
    network : Network

    Returns
    -------
    network : Network
        The same outputs for every input. ``Layer.origin`` of a layer that lost kernels numbers those that are left.
    found : tuple of Cleaned
        One a layer.
    """
    layers = list(network.layers)
    constant: list[set[int]] = [set() for _ in layers]
    dead: list[set[int]] = [set() for _ in layers]
    changed = True
    while changed:
        changed = False
        for index, layer in enumerate(layers):
            numbers = _numbers(layer)
            fixed, codes = _constant(layer)
            constant[index].update(numbers[fixed].tolist())
            if index == len(layers) - 1:
                break
            weights = _by_kernel(layer, layers[index + 1])
            if weights is None:
                continue
            unseen = ~weights.any(axis=(0, 2))
            dead[index].update(numbers[unseen].tolist())
            leave = fixed & (codes == 0)
            if layer.winners is None:
                leave |= unseen
                if not _padded(layers[index + 1]):
                    leave |= fixed
            if leave.all():
                leave[0] = False    # records hold at least one kernel
            if leave.any():
                changed = True
                layers[index] = _without(layer, leave)
                layers[index + 1] = _fold(layers[index + 1], weights, leave, codes)
    return replace(network, layers=tuple(layers)), tuple(
        Cleaned(name=given.name, constant=len(constant[index]), dead=len(dead[index]),
                removed=given.kernels - left.kernels, duplicates=_duplicates(left),
                dead_positions=_dead_positions(given, left))
        for index, (given, left) in enumerate(zip(network.layers, layers, strict=True)))


def _numbers(layer: Layer) -> np.ndarray:
    """Kernel numbers in the model's layer."""
    return np.arange(layer.kernels) if layer.origin is None else layer.origin


def _constant(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Which kernels are constant, and their codes (or sums): bool and int64 (M,)."""
    one, other = (layer.requantise(sums) for sums in layer.kernel_range)
    return one == other, one


def _by_kernel(layer: Layer, follower: Layer) -> np.ndarray | None:
    """The next layer's weights (M', M, elements of a kernel of ``layer``).

    None where it reads the output as an image of other sizes, so that elements of a kernel do not stay together.
    """
    image = (*layer.output_shape, 1, 1)[:3]
    window = follower.window
    if window is not None and (window.channels, window.height, window.width) != image:
        return None
    return follower.weights.reshape(follower.kernels, layer.kernels, -1)


def _padded(layer: Layer) -> bool:
    return layer.window is not None and any(layer.window.pads)


def _without(layer: Layer, leave: np.ndarray) -> Layer:
    """The layer without some of its kernels."""
    keep = ~leave
    left = int(keep.sum())

    def cut(value):
        """A parameter of the kernels that stay; a number, or None, is that of all."""
        return value[keep] if isinstance(value, np.ndarray) else value

    def cut_stage(stage: Stage) -> Stage:
        match stage:
            case Scale():
                return replace(stage, multiplier=cut(stage.multiplier), offset=cut(stage.offset))
            case Thresholds():
                return replace(stage, values=stage.values[keep])

    return replace(
        layer, weights=layer.weights[keep], mask=layer.mask[keep], bias=layer.bias[keep],
        stages=tuple(map(cut_stage, layer.stages)), pool=layer.pool and replace(layer.pool, channels=left),
        winners=layer.winners and min(layer.winners, left), output_scale=cut(layer.output_scale),
        output_offset=cut(layer.output_offset), origin=_numbers(layer)[keep],
        sets=None)


def _fold(layer: Layer, weights: np.ndarray, leave: np.ndarray, codes: np.ndarray) -> Layer:
    """The layer without the inputs that come from some kernels of the layer before, whose codes go into its biases.

    A dead kernel has no weight here, whatever its code.
    """
    def cut(array: np.ndarray) -> np.ndarray:
        return array.reshape(weights.shape)[:, ~leave].reshape(layer.kernels, -1)

    return replace(
        layer, weights=cut(layer.weights), mask=cut(layer.mask),
        bias=layer.bias + weights[:, leave].sum(axis=2) @ codes[leave],
        window=layer.window and replace(layer.window, channels=int((~leave).sum())))


def _duplicates(layer: Layer) -> int:
    """Kernels that equal one before them."""
    columns = [layer.weights, layer.bias]
    for stage in layer.stages:
        columns += [stage.multiplier, stage.offset] if isinstance(stage, Scale) else [stage.values]
    rows = np.column_stack([column for column in columns if isinstance(column, np.ndarray)])
    return layer.kernels - len({row.tobytes() for row in rows})


def _dead_positions(given: Layer, left: Layer) -> int:
    kept = np.isin(_numbers(given), _numbers(left))
    return int((~given.weights[kept].any(axis=0)).sum())
