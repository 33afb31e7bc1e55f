"""Plans for boards: the link's buffer is known before there is a plan, and what is left free is enough."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from builders import make_cnn, make_network

from dovetail.hw.link.arch import LinkArch
from dovetail.hw.link.sizes import request_depth
from dovetail.sw.choose import LONE_FF, MOST_CELLS, PlanError, choose
from dovetail.sw.plan import plan, plan_resources
from dovetail.sw.reserve import board_reserve, request_octets
from dovetail.sw.resources import Resources, capacity
from dovetail.sw.settings import Device, Settings


def networks():
    rng = np.random.default_rng(3)
    yield make_network(rng, sizes=(3, 4, 2))
    yield make_network(rng, sizes=(500, 12, 3), input_bits=4)
    yield make_network(rng, sizes=(300, 12, 3), input_bits=12)
    yield make_cnn(rng, image=(3, 6, 5), layers=[{"kernels": 4, "kernel": (3, 3)}, {"kernels": 3}])


@pytest.mark.parametrize("loadable", [False, True])
@pytest.mark.parametrize("network", list(networks()), ids=["small", "long", "wide", "image"])
def test_buffer_is_the_links(network, loadable):
    made = plan(network, Settings(target_cycles=5000, loadable=loadable))
    assert request_octets(network, loadable=loadable) == request_depth(made.arch, window=LinkArch.window)


@pytest.mark.parametrize("codes, device, blocks", [
    (20, Device.UP5K, 1), (240, Device.UP5K, 1), (500, Device.UP5K, 2), (1024, Device.UP5K, 8),
    (1024, Device.ECP5_85K, 2), (1, Device.ECP5_25K, 0),
])
def test_block_rams_of_the_buffer(codes, device, blocks):
    network = make_network(np.random.default_rng(1), sizes=(codes, 4, 2))
    assert board_reserve(network, device, loadable=False).block_ram == blocks


@dataclass(frozen=True)
class Offer:
    """What `choose` sees of a candidate."""

    cycles: float
    lut: int
    ff: int = 0
    block_ram: int = 0

    most_soft = 0
    arch = SimpleNamespace(name="fc0")

    def with_soft(self, soft):
        return self

    def resources(self, device):
        return Resources(lut=self.lut, ff=self.ff, block_ram=self.block_ram)


def test_room_is_left():
    """The fastest would fit the device, but not beside the reserve."""
    layers = [[Offer(cycles, lut, block_ram=50) for cycles, lut in ((100, 20_000), (200, 18_000), (300, 15_000))]]
    assert choose(layers, device=Device.ECP5_25K, target=None)[0].cycles == 100
    assert choose(layers, device=Device.ECP5_25K, target=None, reserve=Resources(lut=3000))[0].cycles == 200
    assert choose(layers, device=Device.ECP5_25K, target=None, reserve=Resources(lut=5000))[0].cycles == 300
    with pytest.raises(PlanError, match=r"^no plan fits ecp5-25k: the closest needs 4 block RAMs more than the 46 "):
        choose(layers, device=Device.ECP5_25K, target=None, reserve=Resources(block_ram=10))


def test_logic_cells_of_an_ice40_are_counted():
    """2,780 look-up tables and as many flip-flops are 5,004 cells of the 5,016 that may be taken."""
    def of(count):
        return [[Offer(100, count, count)]]

    assert int(MOST_CELLS * 5280) == 5016 and LONE_FF == 0.8
    assert choose(of(2780), device=Device.UP5K, target=None, reserve=Resources())
    with pytest.raises(PlanError, match=r"^no plan fits up5k: the closest needs 24 logic cells more than the 5,016 "):
        choose(of(2800), device=Device.UP5K, target=None, reserve=Resources())
    with pytest.raises(PlanError, match=r"^no plan fits up5k: the closest needs 168 logic cells more than the 4,836 "):
        choose(of(2780), device=Device.UP5K, target=None, reserve=Resources(lut=100, ff=100))
    # As without a board.
    with pytest.raises(PlanError, match=r"^no plan fits up5k: the closest needs 24 logic cells more than the 5,016 "):
        choose(of(2800), device=Device.UP5K, target=None)


def test_plan_for_a_board_leaves_room():
    network = make_network(np.random.default_rng(5), sizes=(128, 128, 10), sets=(4, None))
    alone = plan(network, Settings(device=Device.UP5K))
    hosted = plan(network, Settings(device=Device.UP5K, hosted=True))
    whole, reserve = capacity(Device.UP5K), board_reserve(network, Device.UP5K, loadable=False)
    taken = plan_resources(hosted, Device.UP5K) + reserve
    assert taken.lut + LONE_FF * taken.ff <= MOST_CELLS * whole.lut and taken.block_ram <= whole.block_ram
    most = plan_resources(alone, Device.UP5K) + reserve
    assert most.lut + LONE_FF * most.ff > MOST_CELLS * whole.lut


@pytest.fixture(scope="module")
def large():
    """A network whose weights do not fit the block RAMs of an UltraPlus."""
    return make_network(np.random.default_rng(7), sizes=(300, 256, 3), sets=(4, None))


def test_weights_that_fit_in_no_other_way_are_loaded(large):
    asked = Settings(device=Device.UP5K, hosted=True)
    made = plan(large, asked)
    assert made.arch.loadable and made.settings == asked
    assert plan_resources(made, Device.UP5K).spram > 0
    said = plan(large, replace(asked, loadable=True))
    assert made.arch == said.arch


def test_weights_that_fit_are_not_loaded():
    network = make_network(np.random.default_rng(5), sizes=(64, 64, 10), sets=(4, None))
    assert not plan(network, Settings(device=Device.UP5K, hosted=True)).arch.loadable


@pytest.mark.parametrize("settings", [
    Settings(device=Device.UP5K, hosted=True, loadable=False),      # somebody said no
    Settings(device=Device.UP5K),                                   # no host that loads anything
])
def test_weights_are_not_loaded_unasked(large, settings):
    with pytest.raises(PlanError, match=r"block RAMs more than .*; loadable = true in the plan would let weights be"):
        plan(large, settings)


def test_not_even_loaded(large):
    """The message is about plans that are loaded, and says how fast those can be."""
    with pytest.raises(PlanError, match=r"^no plan of 300 cycles .* fits up5k: .*: \d+ cycles on this device$"):
        plan(large, Settings(device=Device.UP5K, hosted=True, target_cycles=300))
