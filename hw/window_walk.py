"""Goes through the windows of an image, group by group, as soon as their pixels are there."""

from collections import Counter
from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arch import WindowArch, bits_for, ceil_div
from .layouts import tap_layout
from .line_buffer import advance

__all__ = ["WindowWalk", "rotate"]


def rotate(items: Sequence[Value], amount: Value, *, up: bool = False) -> list[Value]:
    """Item ``(place + amount) % len(items)`` in each place; with ``up`` item ``(place - amount) % len(items)``.

    One row of multiplexers for each bit of ``amount``, which is less than the number of items.
    """
    items = list(items)
    if len(items) == 1:
        return items
    for bit in range(len(amount)):
        shift = -(1 << bit) if up else 1 << bit
        items = [Mux(amount[bit], items[(place + shift) % len(items)], item) for place, item in enumerate(items)]
    return items


class WindowWalk(wiring.Component):
    """One group of taps per cycle, windows row by row, image after image.

    A window may go as soon as the last of its pixels is stored, at least its image's first. What is different at an
    image's borders (taps outside, rows that need not be waited for or cannot be released) is a table by the number of
    the window row or column, in which only the entries that differ take logic.

    Latency is one cycle: a group leaves in the cycle after its pixels are counted.

    Members
    -------
    row_done : In(1), column : In(range(width))
        From the ``LineBuffer``: a row is complete; pixels of the row behind it.
    o : Out(stream.Signature(tap_layout(arch)))
    """

    row_done: Signal
    column: Signal
    o: stream.Interface

    def __init__(self, arch: WindowArch):
        self._arch = arch
        super().__init__({
            "row_done": In(1), "column": In(range(arch.width)), "o": Out(stream.Signature(tap_layout(arch))),
        })

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        (kernel_rows, kernel_columns), (row_step, column_step) = arch.kernel, arch.strides
        (grid_rows, grid_columns), (out_rows, out_columns) = arch.bank_grid, arch.output_size
        top, left = arch.pads[:2]

        def count(limit, name, step):
            """A counter and whether it is at its last value; it moves on with ``step``."""
            counter, last = Signal(range(limit), name=name), Signal(name=f"{name}_last")
            m.d.comb += last.eq(counter == limit - 1)
            with m.If(step):
                m.d.sync += counter.eq(Mux(last, 0, counter + 1))
            return counter, last

        go, available = Signal(), Signal()
        tap_x, line_end = count(kernel_columns // grid_columns, "tap_x", go)
        tap_y, window_last = count(kernel_rows // grid_rows, "tap_y", go & line_end)
        window_end, row_end = Signal(), Signal()
        m.d.comb += window_end.eq(line_end & window_last)
        out_x, out_x_last = count(out_columns, "out_x", go & window_end)
        m.d.comb += row_end.eq(window_end & out_x_last)
        out_y, image_end = count(out_rows, "out_y", go & row_end)

        # Rows that are complete less the number of the one that the window waits for.
        needs = [arch.last_row(y) for y in range(out_rows)]
        ahead = Signal(range(-arch.height, arch.rows + 2), init=-needs[0])
        further = [after - need for need, after in zip(needs, [*needs[1:], arch.height + needs[0]], strict=True)]
        m.d.sync += ahead.eq(ahead + self.row_done - Mux(go & row_end, _lookup(m, out_y, further), 0))
        last_column = _lookup(m, out_x, [arch.last_column(x) for x in range(out_columns)])
        m.d.comb += available.eq((ahead > 0) | ((ahead == 0) & (self.column > last_column)))

        # Place of the window row's first tap in the ring of rows, and of the group's first tap in it; columns left of
        # the image have addresses that nothing is read from.
        columns = ceil_div(arch.width, grid_columns)

        def in_ring(row):
            line, bank = divmod(row % arch.rows, grid_rows)
            return line * columns, bank

        first_line, first_bank = in_ring(-top)
        line_row, turn_y = Signal(range(arch.bank_pixels), init=first_line), Signal(range(grid_rows), init=first_bank)
        line = Signal.like(line_row)

        def below(place):
            return Mux(place == arch.bank_pixels - columns, 0, place + columns)

        next_row, next_image = in_ring(row_step), in_ring(arch.height - (out_rows - 1) * row_step)
        way = (Mux(image_end, next_image[0], next_row[0]), Mux(image_end, next_image[1], next_row[1]))
        row_after = Signal(len(line_row) + len(turn_y))
        m.d.comb += row_after.eq(
            advance(m, (line_row, turn_y), way, divisor=grid_rows, unit=columns, end=arch.bank_pixels))
        with m.If(go & row_end):
            m.d.sync += Cat(line_row, turn_y).eq(row_after)
        with m.If(go & line_end):
            m.d.sync += line.eq(Mux(row_end, row_after[:len(line_row)], Mux(window_last, line_row, below(line))))

        offset_bits = bits_for(arch.bank_pixels)        # of an address, so that sums wrap like one
        start, turn_start = divmod(-left, grid_columns)
        start %= 1 << offset_bits
        offset_window, turn_x = Signal(offset_bits, init=start), Signal(range(grid_columns), init=turn_start)
        offset, offset_after = Signal(offset_bits, init=start), Signal(offset_bits)
        turned, carry = Signal(range(2 * grid_columns)), Signal()
        m.d.comb += [
            turned.eq(turn_x + column_step % grid_columns), carry.eq(turned >= grid_columns),
            offset_after.eq(Mux(row_end, start, offset_window + column_step // grid_columns + carry)),
        ]
        with m.If(go):
            m.d.sync += offset.eq(Mux(window_end, offset_after, Mux(line_end, offset_window, offset + 1)))
            with m.If(window_end):
                m.d.sync += [
                    offset_window.eq(offset_after),
                    turn_x.eq(Mux(row_end, turn_start, Mux(carry, turned - grid_columns, turned))),
                ]

        # Which of the taps, by lane and then by bank, are inside the image.
        rows_inside = _lookup(m, out_y, [
            sum((0 <= y * row_step - top + tap < arch.height) << tap for tap in range(kernel_rows))
            for y in range(out_rows)])
        columns_inside = _lookup(m, out_x, [
            sum((0 <= x * column_step - left + tap < arch.width) << tap for tap in range(kernel_columns))
            for x in range(out_columns)])
        inside_y = rotate([rows_inside.bit_select(tap_y if grid_rows == 1 else tap, 1)
                           for tap in range(grid_rows)], turn_y, up=True)
        inside_x = rotate([columns_inside.bit_select(tap_x if grid_columns == 1 else tap, 1)
                           for tap in range(grid_columns)], turn_x, up=True)

        release = _lookup(m, out_y, [
            (arch.first_row(y + 1) if y < out_rows - 1 else arch.height) - arch.first_row(y) for y in range(out_rows)])
        base = Signal.like(self.o.p.base)
        step = Signal()
        m.d.comb += [step.eq(~self.o.valid | self.o.ready), go.eq(step & available)]
        with m.If(go):
            m.d.sync += base.eq(Mux(window_end, 0, base + arch.channels))
        taps = self.o.p
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(available), taps.turn_y.eq(turn_y), taps.turn_x.eq(turn_x),
                taps.inside.eq(Cat(y & x for y in inside_y for x in inside_x)), taps.base.eq(base),
                taps.last.eq(window_end), taps.release.eq(Mux(row_end, release, 0)),
                taps.place.below_y.eq(Cat(bank < turn_y for bank in range(grid_rows))),
                taps.place.below_x.eq(Cat(bank < turn_x for bank in range(grid_columns))),
            ]
            for pixels, upper in zip((taps.place.pixels[0], taps.place.pixels[1]), (line, below(line)), strict=True):
                m.d.sync += [pixels[0].eq(upper + offset), pixels[1].eq(upper + offset + 1)]
        return m


def _lookup(m: Module, index: Value, entries: Sequence[int]) -> Value:
    """``entries[index]``, none of them negative; only those that differ from the most common one take logic."""
    (usual, _), *_ = Counter(entries).most_common(1)
    found = Signal(range(max(entries) + 1))
    m.d.comb += found.eq(usual)
    with m.Switch(index):
        for place, entry in enumerate(entries):
            if entry != usual:
                with m.Case(place):
                    m.d.comb += found.eq(entry)
    return found
