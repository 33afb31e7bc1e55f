"""Memory contents, read back the way the hardware reads them, give the layer again."""

from dataclasses import replace

import numpy as np
import pytest
from builders import STAGES, make_network

from dovetail.hw.arch import Mode, bits_for
from dovetail.sw.images import lane_rows
from dovetail.sw.network import Thresholds
from dovetail.sw.order import assign_kids, drain_order
from dovetail.sw.plan import plan
from dovetail.sw.settings import LayerSettings, Settings


def read_back(planned):
    """Weights (M, L) that the memories mean; every slot without a kernel must hold a zero weight."""
    arch, images = planned.arch.engine, planned.images.engine
    table = assign_kids(planned.packing, arch)
    weights = np.zeros_like(planned.layer.weights)
    half = 1 << arch.weight_bits - 1
    for fold in range(arch.folds):
        for position in range(arch.positions):
            lane, index = position % arch.lanes, fold * arch.lane_positions + position // arch.lanes
            start, count = index, 1
            if arch.row_table:
                entry = images.rows[lane][index]
                assert entry < 1 << bits_for(arch.lane_rows) + bits_for(arch.most_rows + 1)
                start, count = entry % (1 << bits_for(arch.lane_rows)), entry >> bits_for(arch.lane_rows)
                assert count <= arch.most_rows and start + count <= arch.lane_rows
            for row in range(start, start + count):
                for bank in range(arch.banks):
                    slot = images.weights[lane][row] >> bank * arch.slot_bits & (1 << arch.slot_bits) - 1
                    weight = ((slot & (1 << arch.weight_bits) - 1) ^ half) - half
                    kernel = int(table[fold, bank, slot >> arch.weight_bits])
                    if weight:
                        assert kernel >= 0
                        weights[kernel, position] += weight
    return weights


def check(planned):
    arch, layer, images = planned.arch.engine, planned.layer, planned.images.engine
    np.testing.assert_array_equal(read_back(planned), layer.weights)
    order = drain_order(assign_kids(planned.packing, arch), arch)
    for port in range(arch.drain_width):
        for beat, kernel in enumerate(order[:, port].tolist()):
            assert images.biases[port][beat] == (layer.bias[kernel] if kernel >= 0 else 0)
    for stage, held in zip(layer.stages, planned.images.stages, strict=True):
        for name in ("multipliers", "offsets", "thresholds"):
            # Where all kernels have the same, there is no memory.
            wanted = {"multipliers": "multiplier", "offsets": "offset", "thresholds": "values"}[name]
            wanted = getattr(stage, wanted, None)
            if not isinstance(wanted, np.ndarray):
                assert getattr(held, name) == ()
                continue
            for port in range(arch.drain_width):
                for beat, kernel in enumerate(order[:, port].tolist()):
                    if kernel >= 0:
                        np.testing.assert_array_equal(getattr(held, name)[port][beat], wanted[kernel])
    assert len(images.weights) == arch.lanes
    assert all(len(rows) == arch.lane_rows for rows in images.weights)


def planned_layer(network, **fixed):
    return plan(network, Settings(layers={"fc0": LayerSettings(**fixed)})).layers[0]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("sets", "density"), [
    (1, 1.0), (2, 1.0), (3, 1.0), (5, 1.0), (16, 1.0), (None, 0.1), (None, 0.6)])
@pytest.mark.parametrize(("lanes", "banks", "drain_width"), [(1, 1, 1), (3, 2, 4), (4, 3, 2)])
def test_weights_come_back(mode, sets, density, lanes, banks, drain_width):
    rng = np.random.default_rng(lanes)
    network = make_network(rng, sizes=[23, 19], sets=[sets], density=density, codes_out=True)
    check(planned_layer(network, mode=mode, lanes=lanes, banks=banks, drain_width=drain_width))


@pytest.mark.parametrize("stages", [(kind,) for kind in STAGES] + [("offsets", "falling"), ("ties", "thresholds")])
def test_stages_come_back(stages):
    network = make_network(np.random.default_rng(5), sizes=[9, 7], sets=[3], codes=(-7, 8), stages=stages,
                           codes_out=True)
    check(planned_layer(network, lanes=2, banks=2, drain_width=2))


def test_thresholds_beyond_every_sum():
    """Any number that is reached always is as good as another, and likewise one that is reached never."""
    network = make_network(np.random.default_rng(5), sizes=[4, 3], sets=[3])
    far = 1 << 60
    stage = Thresholds(values=np.array([[-far, far], [-far, -far], [far, far]]), low=0)
    layer = replace(network.layers[0], stages=(stage,))
    planned = planned_layer(replace(network, layers=(layer,)), lanes=1, banks=1, drain_width=1)
    order = drain_order(assign_kids(planned.packing, planned.arch.engine), planned.arch.engine)
    low, high = -(1 << layer.sum_bits - 1), 1 << layer.sum_bits - 1
    for beat, kernel in enumerate(order[:, 0].tolist()):
        if kernel >= 0:
            assert planned.images.stages[0].thresholds[0][beat] == [(low, high), (low, low), (high, high)][kernel]


@pytest.mark.parametrize("weight_bits", [2, 3, 8, 13])
def test_widths(weight_bits):
    network = make_network(np.random.default_rng(1), sizes=[9, 8], sets=[4], weight_bits=weight_bits)
    check(planned_layer(network, lanes=2, banks=2))


def test_weights_quantised_to_zero_keep_their_slot():
    network = make_network(np.random.default_rng(2), sizes=[9, 8], sets=[4])
    layer = replace(network.layers[0], weights=np.zeros((8, 9), np.int64))
    planned = planned_layer(replace(network, layers=(layer,)), lanes=1, banks=2)
    check(planned)
    assert planned.packing.complementary and planned.packing.set_size == 4


@pytest.mark.parametrize("positions", [9, 12])
def test_position_without_rows_behind_a_full_lane(positions):
    """Eight rows fill the lane, so that the number of the row behind them has a bit too many: that of one row."""
    network = make_network(np.random.default_rng(3), sizes=[positions, 2], density=1.0)
    mask = np.zeros((2, positions), bool)
    mask[:, :4] = True                      # one bank, two rows at four positions
    layer = replace(network.layers[0], mask=mask, weights=np.where(mask, network.layers[0].weights, 0))
    planned = planned_layer(replace(network, layers=(layer,)), lanes=1, banks=1, set_size=2)
    arch, entries = planned.arch.engine, planned.images.engine.rows[0]
    assert (arch.row_table, arch.lane_rows) == (True, 8)
    assert [entry >> 3 for entry in entries] == [2] * 4 + [0] * (positions - 4)
    check(planned)


@pytest.mark.parametrize(("lanes", "most"), [(1, 15), (2, 10), (3, 11), (5, 9)])
def test_lane_rows(lanes, most):
    assert lane_rows(np.array([[1, 0, 2, 3, 0], [1, 1, 1, 6, 0]]), lanes) == most


def test_lane_rows_of_nothing():
    assert lane_rows(np.zeros((2, 5), np.int64), 2) == 1
