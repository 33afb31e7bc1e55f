"""The cycle model of `dovetail.hw.windows`: when pixels are taken and when windows leave, exactly."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..hw.arch import WindowArch

__all__ = ["WindowCycles", "WindowTimes", "window_beats"]

#: Cycles from a pixel's last beat to the first read of a window that needs it: two until it is stored and counted, then
#: the stages of walk, counts and group.
PIXEL_TO_READ = 5
_NEVER = -1 << 40


def window_beats(arch: WindowArch, counts: np.ndarray) -> np.ndarray:
    """Beats as which every window leaves: (n, windows) from the pairs of every pixel, (n, height, width)."""
    (rows, columns), (row_step, column_step) = arch.output_size, arch.strides
    top, left, bottom, right = arch.pads
    padded = np.pad(np.asarray(counts, np.int64), ((0, 0), (top, bottom), (left, right)))
    if not arch.indexed:
        padded[...] = arch.channels
    taps = np.lib.stride_tricks.sliding_window_view(padded, arch.kernel, axis=(1, 2))[:, ::row_step, ::column_step]
    groups = taps.reshape(len(padded), rows * columns, arch.groups, arch.lanes)
    return np.maximum(groups.max(axis=3), 1).sum(axis=2)


@dataclass(frozen=True, kw_only=True)
class WindowTimes:
    """Cycles of one window: its last pixel has ``come``, its first beat is ``valid``, and its ``first`` and ``last``
    beats transfer."""

    come: int
    valid: int
    first: int
    last: int


class WindowCycles:
    """Follows one unit pixel by pixel and window by window; cycle 0 is the first clock edge after reset.

    Call ``image`` before an image's first pixel; for each pixel ask ``ready`` when its first beat can transfer, then
    call ``pixel``, which tells the windows that can follow; account for these with ``window``, in order. A pixel
    depends only on windows before it and a window only on pixels before it.

    Groups and beats move through registers that each move on when the next one is free. So a beat is read one cycle
    after its predecessor, or when the beat ``stages`` ahead of it leaves ``o``, whichever is later, and the beats of a
    window leave without a gap.
    """

    def __init__(self, arch: WindowArch):
        self._arch = arch
        rows, columns = arch.output_size
        needs = np.array([arch.last_row(y) * arch.width + arch.last_column(x) for y in range(rows)
                          for x in range(columns)])
        self._size, self._columns = arch.height * arch.width, columns
        self._needs = needs.tolist()                    # the pixel that each window of an image waits for
        # A window waits for those before it, too.
        self._open = np.searchsorted(
            np.maximum.accumulate(needs), np.arange(self._size), side="right").tolist()
        released = [arch.first_row(y) for y in range(1, rows)] + [arch.height]
        self._released = [after - before for before, after in zip([0, *released], released, strict=False)]
        self._beats: deque[int] = deque()               # of the windows that were not accounted for
        self._images = self._pixels = self._windows = 0
        self._pixel_ends: deque[int] = deque()          # from the image of the next window on
        self._forgotten = 0                             # pixels before those
        self._last_input = -1
        self._free: deque[int] = deque([0] * arch.rows) # first cycle in which each of the next rows can be written
        self._read = _NEVER
        self._stages = 3 if arch.bank_grid[0] == 1 else 4
        self._exits: deque[int] = deque([_NEVER] * self._stages, maxlen=self._stages)

    def image(self, counts: np.ndarray) -> None:
        """Announce the next image.

        Parameters
        ----------
        counts : int (height, width)
            Pairs of each pixel.
        """
        counts = np.asarray(counts)
        if counts.shape != (self._arch.height, self._arch.width):
            raise ValueError(f"counts must have the shape ({self._arch.height}, {self._arch.width}), "
                             f"not {counts.shape!r}")
        self._beats.extend(window_beats(self._arch, counts[None])[0].tolist())
        self._images += 1

    def ready(self) -> int:
        """First cycle in which the next pixel's first beat can transfer.

        Raises
        ------
        ValueError
            If that depends on windows that were not accounted for.
        """
        if self._pixels % self._arch.width:
            return self._last_input + 1
        if not self._free:
            raise ValueError(f"window must be called before ready: window {self._windows} decides")
        return max(self._last_input + 1, self._free[0])

    def pixel(self, *, first: int, last: int) -> range:
        """Account for the next pixel, whose first and last beats transferred in these cycles.

        Returns
        -------
        range
            Numbers, counted from reset on, of the windows that this pixel lets go.
        """
        if first < self.ready() or last < first:
            raise ValueError(f"first must be at least {self.ready()} and at most last, not {first!r} and {last!r}")
        image, place = divmod(self._pixels, self._size)
        if image == self._images:
            raise ValueError("image must be called before pixel")
        if place % self._arch.width == 0:
            self._free.popleft()
        self._pixels += 1
        self._last_input = last
        self._pixel_ends.append(last)
        before = 0 if place == 0 else self._open[place - 1]
        start = image * len(self._needs)
        return range(start + before, start + self._open[place])

    def window(self, ready: int | Callable[[int], int] = 0) -> WindowTimes:
        """Account for the next window.

        Parameters
        ----------
        ready : int or function
            First cycle from which the consumer is ready for this window's first beat and all after it, or a function
            that tells this cycle, given the one in which the first beat becomes valid.
        """
        image, place = divmod(self._windows, len(self._needs))
        needed = image * self._size + self._needs[place]
        if needed >= self._pixels:
            raise ValueError(f"pixel must be called before window: window {self._windows} needs pixel {needed}")
        while self._forgotten < image * self._size:
            self._pixel_ends.popleft()
            self._forgotten += 1
        beats, stages = self._beats.popleft(), self._stages
        come = self._pixel_ends[needed - self._forgotten]
        start = max(come + PIXEL_TO_READ, self._read + 1, self._exits[0])
        valid = max(start + stages, self._exits[-1] + 1)
        first = max(valid, ready(valid) if callable(ready) else ready)
        last = first + beats - 1
        # The last beat is read when the beat `stages` ahead of it leaves, in this window or one before.
        self._read = max(start + beats - 1, last - stages if beats > stages else self._exits[beats - 1])
        self._exits.extend(range(max(first, last + 1 - stages), last + 1))
        self._windows += 1
        row, column = divmod(place, self._columns)
        if column == self._columns - 1:
            self._free.extend([self._read + 1] * self._released[row])
        return WindowTimes(come=come, valid=valid, first=first, last=last)
