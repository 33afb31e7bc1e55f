"""The geometry of convolution and pooling windows."""

import math
from dataclasses import dataclass

import numpy as np

from .checks import check_whole

__all__ = ["Window", "max_pool"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Windows that slide over an image of ``channels`` x ``height`` x ``width``; dilation is 1.

    Position ``(c * kernel_height + y) * kernel_width + x`` of a window is channel ``c`` at row ``y``, column ``x`` of
    it. Windows follow each other row by row. A one-dimensional signal is an image of height 1.

    Members
    -------
    channels, height, width : int
        Of the image.
    kernel : (int, int)
        Height and width of the window.
    strides : (int, int)
        Rows and columns from one window to the next.
    pads : (int, int, int, int)
        Rows and columns around the image: top, left, bottom, right.
    """

    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width"):
            check_whole(name, getattr(self, name), 1, 2**31)
        for name, count, least in (("kernel", 2, 1), ("strides", 2, 1), ("pads", 4, 0)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != count:
                raise TypeError(f"{name} must be a tuple of {count} integers, not {values!r}")
            for value in values:
                check_whole(name, value, least, 2**16)
        if min(self.output_size) < 1:
            raise ValueError(f"kernel must fit into the padded image, not {self.kernel!r}")

    @property
    def positions(self) -> int:
        """L, the elements of one window."""
        return self.channels * self.kernel[0] * self.kernel[1]

    @property
    def inputs(self) -> int:
        """Elements of the image."""
        return self.channels * self.height * self.width

    @property
    def covered(self) -> bool:
        """Whether every window sees the image; one that lies in the padding has no greatest element."""
        sides = zip(self.kernel, self.strides, self.pads[:2], self.output_size, (self.height, self.width), strict=True)
        return all(pad < kernel and (count - 1) * stride - pad < size for kernel, stride, pad, count, size in sides)

    @property
    def output_size(self) -> tuple[int, int]:
        """Windows in a column and in a row of the output."""
        top, left, bottom, right = self.pads
        return ((self.height + top + bottom - self.kernel[0]) // self.strides[0] + 1,
                (self.width + left + right - self.kernel[1]) // self.strides[1] + 1)

    def gather(self, images: np.ndarray, *, fill: float = 0) -> np.ndarray:
        """Copy every window of images (n, channels * height * width) out: (n, out_height * out_width, L)."""
        top, left, bottom, right = self.pads
        images = images.reshape(-1, self.channels, self.height, self.width)
        padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
        views = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=(2, 3))
        views = views[:, :, ::self.strides[0], ::self.strides[1]]
        return views.transpose(0, 2, 3, 1, 4, 5).reshape(len(images), math.prod(self.output_size), self.positions)


def max_pool(window: Window, images: np.ndarray) -> np.ndarray:
    """Greatest element of every window, channel by channel; padding never wins.

    Parameters
    ----------
    window : Window
        That is ``covered``.
    images : array (n, channels * height * width)

    Returns
    -------
    array (n, channels * out_height * out_width)
    """
    count = math.prod(window.output_size)
    windows = window.gather(images, fill=images.min(initial=0))
    windows = windows.reshape(len(images), count, window.channels, math.prod(window.kernel))
    return windows.max(axis=3).transpose(0, 2, 1).reshape(len(images), window.channels * count)
