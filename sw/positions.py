"""Where an engine has the positions of the model's kernels."""

import numpy as np

from ..hw.arch import WindowArch

__all__ = ["engine_order", "pixel_vectors"]


def engine_order(positions: int, *, elements: int, window: WindowArch | None) -> np.ndarray:
    """The model's position at every position of a layer's engine.

    The model numbers a window's elements channel by channel (`dovetail.sw.window.Window`), and so those of an image
    that becomes a vector. Hardware has images pixel by pixel: position ``pixel * elements + channel`` of a vector; of a
    window, whose taps the lanes share, `dovetail.hw.arch.WindowArch` tells what is where.

    Parameters
    ----------
    positions : int
        L.
    elements : int
        Of a vector, or pixel, that arrives.
    window : WindowArch or None

    Returns
    -------
    int64 (L,)
    """
    if window is None:
        pixel, channel = np.divmod(np.arange(positions), elements)
        return channel * (positions // elements) + pixel
    address, lane = np.divmod(np.arange(positions), window.lanes)
    group, channel = np.divmod(address, window.channels)
    return channel * window.taps + group * window.lanes + lane


def pixel_vectors(images: np.ndarray, pixels: int) -> np.ndarray:
    """Images (n, channels * pixels) pixel by pixel, as hardware has them: (n, pixels, channels)."""
    return images.reshape(len(images), -1, pixels).transpose(0, 2, 1)
