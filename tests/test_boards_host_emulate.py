# amaranth: UnusedElaboratable=no
"""The emulated board: a serial line behind a pseudo-terminal, octet by octet."""

import os
import threading
import time

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from emulation import opened, read, running

from dovetail.boards.host.emulate import Emulator
from dovetail.hw.errors import DovetailError


class Echo(wiring.Component):
    """Sends every octet back, plus one; ``got`` toggles with each, ``working`` is high while there is something."""

    def __init__(self, bit: int):
        self.bit = bit
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "got": Out(1), "working": Out(1)})

    def elaborate(self, platform):
        m = Module()
        count, place, octet = Signal(range(2 * self.bit)), Signal(4), Signal(8)
        sending, left, held, full = Signal(10), Signal(4), Signal(8), Signal()
        timer = Signal(range(self.bit))
        with m.If(place == 0):
            with m.If(~self.rx):
                m.d.sync += [place.eq(1), count.eq(self.bit + self.bit // 2 - 1)]
        with m.Elif(count != 0):
            m.d.sync += count.eq(count - 1)
        with m.Else():
            m.d.sync += [octet.eq(Cat(octet[1:], self.rx)), count.eq(self.bit - 1), place.eq(place + 1)]
            with m.If(place == 9):
                m.d.sync += [place.eq(0), held.eq(octet + 1), full.eq(1), self.got.eq(~self.got)]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [sending.eq(sending >> 1), left.eq(left - 1), timer.eq(self.bit - 1)]
        with m.Elif(full):
            m.d.sync += [sending.eq(Cat(0, held, 1)), left.eq(9), timer.eq(self.bit - 1), full.eq(0)]
        m.d.comb += [self.tx.eq((left == 0) & (timer == 0) | sending[0]), self.working.eq(full | (left != 0))]
        return m


@pytest.mark.parametrize("bit", [4, 7, 104])
def test_every_octet(bit):
    """All of them and many, back to back, among them what terminals otherwise take for something else."""
    sent = bytes(range(256)) + np.random.default_rng(0).bytes(20_000 // bit)
    with running(Emulator(Echo(bit), cycles_per_bit=bit)) as emulator, opened(emulator.port) as file:
        threading.Thread(target=os.write, args=(file, sent)).start()
        assert read(file, len(sent)) == bytes(octet + 1 & 0xff for octet in sent)
        assert read(file, 1, 0.1) == b""


def test_hosts_come_and_go():
    with running(Emulator(Echo(4), cycles_per_bit=4)) as emulator:
        for octet in range(5):
            with opened(emulator.port) as file:
                os.write(file, bytes([octet]))
                assert read(file, 1) == bytes([octet + 1])
        with opened(emulator.port) as file:
            os.write(file, bytes(100_000 // 40))        # and does not read
        with opened(emulator.port) as file:
            while read(file, 1 << 16, 0.2):
                pass
            os.write(file, b"A")
            assert read(file, 1) == b"B"


def test_nobody_reads():
    """The design goes on; what is too much is lost."""
    with running(Emulator(Echo(4), cycles_per_bit=4)) as emulator, opened(emulator.port) as file:
        for _ in range(300):
            os.write(file, bytes(1000))
        kept = 0
        while octets := read(file, 1 << 16, 0.3):
            kept += len(octets)
        assert 1 << 16 <= kept < 200_000
        os.write(file, b"A")
        assert read(file, 1) == b"B"


def test_nobody_ever_reads():
    """An emulation whose terminal is full can be stopped."""
    with running(Emulator(Echo(4), cycles_per_bit=4)) as emulator, opened(emulator.port) as file:
        for _ in range(300):
            os.write(file, bytes(1000))


def test_sleeps():
    """Without octets it takes no time of the processor; and it wakes."""
    def spent():
        """Seconds of all threads."""
        return time.process_time()

    with running(Emulator(Echo(4), cycles_per_bit=4)) as emulator, opened(emulator.port) as file:
        os.write(file, b"A")
        assert read(file, 1) == b"B"
        time.sleep(0.3)
        begin = spent()
        time.sleep(0.5)
        assert spent() - begin < 0.1
        os.write(file, b"B")
        assert read(file, 1) == b"C"


def test_levels():
    """At first and whenever they change; work is seen however short it is, and ends when the clock stops."""
    seen = []
    with running(Emulator(Echo(4), cycles_per_bit=4), seen.append) as emulator, opened(emulator.port) as file:
        os.write(file, b"A")
        assert read(file, 1) == b"B"
        end = time.monotonic() + 10
        while (not seen or seen[-1] != {"got": True, "working": False}) and time.monotonic() < end:
            time.sleep(0.01)
    assert seen[-1] == {"got": True, "working": False}
    assert {"got": True, "working": True} in seen


def test_without_terminals(monkeypatch):
    monkeypatch.delattr("os.openpty")
    with pytest.raises(DovetailError, match="^this system has no pseudo-terminals, which an emulated board needs$"):
        Emulator(Echo(4), cycles_per_bit=4)


class Mute(wiring.Component):
    """Has the ports that it is told."""

    def elaborate(self, platform):
        return Module()


@pytest.mark.parametrize("ports, bit, kind, message", [
    ({"rx": In(1), "tx": Out(1)}, 3, ValueError, "cycles_per_bit must be at least 4, not 3"),
    ({"rx": In(1)}, 4, TypeError, r"Design must have an input rx and an output tx, not \['rx'\]"),
    ({"rx": Out(1), "tx": Out(1)}, 4, TypeError, r"Design must have an input rx and an output tx, not \['rx', 'tx'\]"),
    ({"rx": In(1), "tx": Out(2)}, 4, TypeError, "Ports must have one bit each, not 'tx': .*"),
])
def test_designs_wrong(ports, bit, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        Emulator(Mute(ports), cycles_per_bit=bit)
