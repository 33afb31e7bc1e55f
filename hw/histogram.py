"""The threshold of a long vector: a histogram of its codes, scanned from the top."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arch import SelectArch, bits_for
from .layouts import Token, arrival_layout, threshold_layout
from .winners import balanced_sum

__all__ = ["Histogram"]


class Histogram(wiring.Component):
    """Counts the codes of a vector as they arrive, then scans the counts for the K-th largest code.

    Port ``p`` of the arriving beats counts into memories of its own. A word of them holds ``bins`` neighbouring counts,
    so that a scan takes ``rows = 2**value_bits / bins`` cycles, always; it clears what it reads. Zeros are not counted:
    where fewer than K codes are left, the threshold is 0 and takes no ties. There are two histograms: one counts while
    the other is scanned, so that vectors may follow each other without a gap. After reset both are cleared before the
    first token.

    In cycles, the last beat of a vector arriving on ``i`` in cycle 0 (and the threshold before it taken by then)::

        0        last beat          read its bins (and write them back in cycle 2)
        1        start of the scan  read the top row (and clear it in cycle 3)
        rows     read the bottom row
        rows+1   token              for the vector after the next
        rows+5   threshold on `o`   bins added over the ports, summed from the top, compared

    Members
    -------
    i : In(stream.Signature(arrival_layout(...)))
        Always ready, R codes a cycle: a vector may only be sent after its token was taken.
    credit : Out(Token)
    o : Out(stream.Signature(threshold_layout(arch)))
        One per vector. The scan of the next vector waits until it is taken.
    """

    i: stream.Interface
    credit: stream.Interface
    o: stream.Interface

    def __init__(self, arch: SelectArch):
        self._arch = arch
        super().__init__({
            "i": In(stream.Signature(arrival_layout(width=arch.width, value=arch.value_bits))), "credit": Out(Token),
            "o": Out(stream.Signature(threshold_layout(arch))),
        })

    @staticmethod
    def latency(arch: SelectArch) -> int:
        """Cycles from a vector's last beat on ``i`` to its threshold on ``o``, where nothing is in the way."""
        return (1 << arch.value_bits) // arch.bins + 5

    def elaborate(self, platform):
        m = Module()
        arch = self._arch
        rows, bin_bits = (1 << arch.value_bits) // arch.bins, (arch.bins - 1).bit_length()
        # A memory holds an element per word of the store at most.
        count_bits, total_bits = bits_for(arch.words + 1), bits_for(arch.kernels + 1)

        scanning, publish, claimed = Signal(init=1), Signal(), Signal()
        arrive, start, scanned, given = Signal(), Signal(), Signal(), Signal()
        clear_halves = Signal(range(3))     # cleared, and not promised to a vector
        full_halves = Signal(range(3))      # counted, and not scanned
        fill_half, scan_half, next_half = Signal(), Signal(), Signal()
        row = Signal(bits_for(rows), init=rows - 1)
        m.d.comb += [
            self.i.ready.eq(1), self.credit.valid.eq(clear_halves != 0), arrive.eq(self.i.valid & self.i.p.last),
            start.eq((arrive | (full_halves != 0)) & ~claimed), scanned.eq(scanning & (row == 0)),
            given.eq(self.credit.valid & self.credit.ready),
        ]
        m.d.sync += [
            # The first scan, after reset, clears both.
            clear_halves.eq(clear_halves + Mux(scanned, Mux(publish, 1, 2), 0) - given),
            full_halves.eq(full_halves + arrive - start), fill_half.eq(fill_half ^ arrive),
        ]
        with m.If(scanning):
            m.d.sync += row.eq(row - 1)
            with m.If(scanned):
                m.d.sync += [scanning.eq(0), row.eq(rows - 1)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), claimed.eq(0)]
        with m.If(start):
            m.d.sync += [
                scanning.eq(1), publish.eq(1), claimed.eq(1), scan_half.eq(next_half), next_half.eq(~next_half),
            ]

        # Read-modify-write: read, register, write. A word that is changed while it is on its way is forwarded, by the
        # memory itself if it is written in the cycle of the read, and into the register if a cycle later.
        counts = []
        for port in range(arch.width):
            code = self.i.p.values[port]
            counted = self.i.valid & self.i.p.mask[port] & (code != 0)
            halves = []
            for half in range(2):
                name = f"{port}_{half}"
                m.submodules[f"memory{name}"] = memory = Memory(
                    shape=arch.bins * count_bits, depth=max(2, rows), init=[])
                write = memory.write_port()
                read = memory.read_port(transparent_for=(write,))
                scan = scanning & ((scan_half == half) | ~publish)
                read_clear, clear = Signal(name=f"read_clear{name}"), Signal(name=f"clear{name}")
                read_hit, hit = Signal(arch.bins, name=f"read_hit{name}"), Signal(arch.bins, name=f"hit{name}")
                read_address = Signal(bits_for(rows), name=f"read_address{name}", reset_less=True)
                held_address = Signal(bits_for(rows), name=f"held_address{name}", reset_less=True)
                forward = Signal(name=f"forward{name}")
                held = Signal(arch.bins * count_bits, name=f"held{name}", reset_less=True)
                changed = [Mux(clear, 0, (held.word_select(index, count_bits) + hit[index])[:count_bits])
                           for index in range(arch.bins)]
                m.d.comb += [
                    read.addr.eq(Mux(scan, row, code >> bin_bits)), write.addr.eq(held_address),
                    write.en.eq(clear | hit.any()), write.data.eq(Cat(changed)),
                ]
                m.d.sync += [
                    read_clear.eq(scan), clear.eq(read_clear), hit.eq(read_hit),
                    read_hit.eq(Mux(counted & (fill_half == half), 1 << (code & arch.bins - 1), 0)),
                    read_address.eq(read.addr), held_address.eq(read_address),
                    forward.eq(read_address == read.addr), held.eq(Mux(forward, write.data, read.data)),
                ]
                halves.append(held)
            scanned_word = Mux(scan_half, halves[1], halves[0])
            counts.append([scanned_word.word_select(index, count_bits) for index in range(arch.bins)])

        # The scan's pipeline: counts read and held, totals of the ports, totals from the top of the row, decision.
        steps = [(scanning & publish, row == 0)]
        for name in ("read", "held", "totals", "sums"):
            valid, bottom = Signal(name=f"{name}_valid"), Signal(name=f"{name}_bottom")
            m.d.sync += [valid.eq(steps[-1][0]), bottom.eq(steps[-1][1])]
            steps.append((valid, bottom))
        valid, bottom = steps[-1]
        totals = [Signal(total_bits, name=f"total{index}", reset_less=True) for index in range(arch.bins)]
        sums = [Signal(total_bits, name=f"sum{index}", reset_less=True) for index in range(arch.bins)]
        for index in range(arch.bins):
            m.d.sync += [
                totals[index].eq(balanced_sum([bins[index] for bins in counts])),
                sums[index].eq(balanced_sum(totals[index:])),
            ]
        found, need, above = Signal(), Signal(bits_for(arch.winners + 1)), Signal(bits_for(arch.winners + 1))
        depth, threshold = Signal.like(row), Signal(arch.value_bits)
        reaches = Signal(arch.bins)
        m.d.comb += [
            reaches.eq(Cat(total >= need for total in sums)),
            self.o.p.threshold.eq(threshold), self.o.p.ties.eq(Mux(found, need - above, 0)),
        ]
        with m.If(valid & ~found):
            m.d.sync += depth.eq(depth - 1)
            with m.If(reaches[0]):
                m.d.sync += found.eq(1)
                # The highest bin that reaches K: the sums fall from bin to bin.
                for index, reach in enumerate(reaches):
                    with m.If(reach):
                        m.d.sync += [
                            threshold.eq((depth << bin_bits) | index),
                            above.eq(sums[index + 1] if index + 1 < arch.bins else 0),
                        ]
            with m.Else():
                m.d.sync += need.eq(need - sums[0])
        with m.If(valid & bottom):
            m.d.sync += self.o.valid.eq(1)
        with m.If(start):
            m.d.sync += [found.eq(0), need.eq(arch.winners), depth.eq(rows - 1), threshold.eq(0)]
        return m
