"""Windows of convolutions and pools, from the attributes of their nodes."""

import math
from dataclasses import replace

from ..model import MaxPool
from ..window import Window
from .graph import Node, trouble
from .walk import MAX_ELEMENTS, Scope, Value

__all__ = ["MAX_GATHERED", "dilations", "image_shape", "make_window", "max_pool_step", "pad", "spatial_shape"]

MAX_GATHERED = 2**24   # elements of all windows of one input, which are copied out to be multiplied


def spatial_shape(node: Node, value: Value) -> tuple[int, int, int]:
    """Channels, height and width of an image; a signal (channels, width) has height 1."""
    match value.shape:
        case (channels, width):
            return channels, 1, width
        case (channels, height, width):
            return channels, height, width
    raise trouble(node, f"must take an image (channels, height, width) or a signal (channels, width), not the shape "
                        f"{value.shape!r}; windows over three axes are not supported")


def _list(node: Node, name: str, count: int, default: int) -> list[int]:
    """Integers of an attribute, one for each spatial axis (or two for each)."""
    found = node.attributes.get(name)
    if found is None:
        return [default] * count
    if not isinstance(found, list) or len(found) != count:
        raise trouble(node, f"must have {count} {name}, not {found!r}")
    return [int(number) for number in found]


def dilations(node: Node, axes: int) -> list[int]:
    """Pixels from one tap of a window to the next, along each axis."""
    return _list(node, "dilations", axes, 1)


def _automatic(node: Node, size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pads before and after one axis that ``auto_pad`` stands for."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return 0, 0
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise trouble(node, f"must have auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {mode!r}")
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return (total // 2, total - total // 2) if mode == "SAME_UPPER" else (total - total // 2, total // 2)


def make_window(node: Node, value: Value, *, kernel: list[int] | None = None) -> tuple[Window, bool]:
    """Make the window of a Conv, MaxPool or AveragePool.

    ``auto_pad`` and ``ceil_mode`` become pads; zeros of a Pad before it are added. The window of a dilated convolution
    has the pixels between its taps, too.

    Parameters
    ----------
    node : Node
    value : Value
        What the node takes.
    kernel : list of int
        Spatial sizes of a convolution's weights; a pool has them in its attributes.

    Returns
    -------
    Window, bool
        And whether the node itself pads (a Pad before it does not count).
    """
    channels, height, width = spatial_shape(node, value)
    axes = len(value.shape) - 1
    stated = node.attributes.get("kernel_shape")
    if kernel is None or stated is not None:
        sizes = _list(node, "kernel_shape", axes, 0)
        if kernel is not None and sizes != kernel:
            raise trouble(node, f"must have kernel_shape {kernel!r} like its weights, not {sizes!r}")
        kernel = sizes
    if len(kernel) != axes:
        raise trouble(node, f"must have windows of {axes} axes like what it takes, not {kernel!r}")
    strides = _list(node, "strides", axes, 1)
    apart = dilations(node, axes)
    if min(*kernel, *strides, *apart) < 1:
        raise trouble(node, "must have positive kernel_shape, strides and dilations, not "
                            f"{kernel!r}, {strides!r} and {apart!r}")
    if node.op != "Conv" and max(apart) > 1:
        raise trouble(node, f"must have dilations 1, not {apart!r}; the nearest supported form takes every pixel of "
                            "its window")
    kernel = [(size - 1) * step + 1 for size, step in zip(kernel, apart, strict=True)]
    pads = _list(node, "pads", 2 * axes, 0)
    image = [height, width][2 - axes:]
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        pairs = [_automatic(node, *sizes) for sizes in zip(image, kernel, strides, strict=True)]
        pads = [first for first, _ in pairs] + [last for _, last in pairs]
    elif node.op != "Conv" and node.integer("ceil_mode", 0):
        for axis in range(axes):
            pads[axes + axis] += _overhang(image[axis], kernel[axis], strides[axis], pads[axis], pads[axes + axis])
    if min(pads) < 0:
        raise trouble(node, f"must have pads that are not negative, not {pads!r}")
    own = any(pads)
    if axes == 1:
        kernel, strides, pads = [1, *kernel], [1, *strides], [0, pads[0], 0, pads[1]]
    if value.padded is not None:
        before = value.padded[1]
        height, width = height - before[0] - before[2], width - before[1] - before[3]
        pads = [mine + theirs for mine, theirs in zip(pads, before, strict=True)]
    try:
        window = Window(channels=channels, height=height, width=width, kernel=(kernel[0], kernel[1]),
                        strides=(strides[0], strides[1]), pads=(pads[0], pads[1], pads[2], pads[3]))
    except ValueError as error:
        raise trouble(node, f"has a window that does not fit what it takes, of shape {value.shape!r}: {error}"
                      ) from error
    _check_room(node, window)
    return window, own


def _check_room(node: Node, window: Window) -> None:
    """Refuse pads and kernels that need memory out of all proportion to the image."""
    top, left, bottom, right = window.pads
    padded = window.channels * (window.height + top + bottom) * (window.width + left + right)
    if padded > MAX_ELEMENTS:
        raise trouble(node, f"must take at most {MAX_ELEMENTS} elements, pads {window.pads!r} included, not {padded}; "
                            "the nearest supported form has pads below its kernel")
    gathered = math.prod(window.output_size) * window.positions
    if gathered > MAX_GATHERED:
        raise trouble(node, f"must have windows of at most {MAX_GATHERED} elements together, not {gathered}: "
                            f"{math.prod(window.output_size)} windows of {window.positions}; the nearest supported "
                            "form has a smaller kernel or larger strides")


def _overhang(size: int, kernel: int, stride: int, first: int, last: int) -> int:
    """Further pads at the end for the last, incomplete window of ``ceil_mode``.

    That window must begin inside the image or the pads before it, else it is left out.
    """
    count = -(-(size + first + last - kernel) // stride) + 1
    if (count - 1) * stride >= size + first:
        count -= 1
    return max((count - 1) * stride + kernel - size - first - last, 0)


def image_shape(value: Value, channels: int, window: Window) -> tuple[int, ...]:
    """Shape of what a window makes of an image or a signal."""
    return (channels, *window.output_size[3 - len(value.shape):])


def max_pool_step(scope: Scope, node: Node, value: Value) -> Value:
    """MaxPool."""
    window, _ = make_window(node, value)
    sizes = (*window.kernel, *window.kernel)
    if any(pad >= size for pad, size in zip(window.pads, sizes, strict=True)):
        raise trouble(node, f"must have pads smaller than its kernel {window.kernel!r}, not {window.pads!r}")
    return value.then(MaxPool(name=node.name, op=node.op, window=window),
                      shape=image_shape(value, window.channels, window))


def pad(scope: Scope, node: Node, value: Value) -> Value:
    """Zeros around an image, which wait for the next convolution or average."""
    _, height, width = spatial_shape(node, value)
    sizes, rank = scope.integers(node, "pads", 1), len(value.shape) + 1
    if scope.integers(node, "axes", 3) is not None:
        raise trouble(node, "must pad all axes (no input axes)")
    if node.attributes.get("mode", "constant") != "constant":
        raise trouble(node, f"must have mode 'constant', not {node.attributes['mode']!r}")
    fill = scope.tensor(node, 2)
    if node.real("value", 0.0) or fill is not None and fill.values.any() or (
            fill is None and len(node.inputs) > 2 and node.inputs[2]):
        raise trouble(node, "must pad with zeros")
    if sizes is None or len(sizes) != 2 * rank or min(sizes) < 0 or any(sizes[axis] for axis in (0, 1, rank, rank + 1)):
        raise trouble(node, f"must have pads of {2 * rank} integers, none negative and none for batch or channels, "
                            f"not {sizes!r}")
    first, last = [0, *sizes[2:rank]][-2:], [0, *sizes[rank + 2:]][-2:]
    if max(height + first[0] + last[0], width + first[1] + last[1]) > 2**16:
        raise trouble(node, f"must leave the image at most {2**16} rows and columns")
    shape = (value.shape[0], *(size + sizes[2 + axis] + sizes[rank + 2 + axis]
                               for axis, size in enumerate(value.shape[1:])))
    before = (0, 0, 0, 0) if value.padded is None else value.padded[1]
    pads = (first[0] + before[0], first[1] + before[1], last[0] + before[2], last[1] + before[3])
    return replace(value, shape=shape, padded=(node, pads))
