"""Lossy packing: what is left is complementary, what is gone was the smaller."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dovetail.sw.lossy import drop_conflicts, make_lossy
from dovetail.sw.network import Layer, Network, Scale, Thresholds
from dovetail.sw.packer import pack


def make_layer(rng, *, kernels, positions, density, name="a", multiplier=True, **options):
    mask = rng.random((kernels, positions)) < density
    factors = rng.integers(1000, 60000, kernels) if multiplier else None
    stage = Scale(multiplier=factors, offset=0, shift=20, low=0, high=255)
    return Layer(name=name, weights=np.where(mask, rng.integers(-127, 128, mask.shape), 0), mask=mask, weight_bits=8,
                 bias=np.zeros(kernels, np.int64), input_range=(0, 255), output_scale=1.0,
                 **dict(stages=(stage,)) | options)


def make_network(*layers):
    return Network(name="net", input_shape=(layers[0].inputs,), input_range=(0, 255), input_scale=1.0, layers=layers,
                   sha256="0" * 64)


def complementary_mask(rng, kernels, positions, set_size):
    owner = rng.integers(0, set_size, (kernels // set_size, positions))
    return (owner[:, np.newaxis] == np.arange(set_size)[:, np.newaxis]).reshape(kernels, positions)


@pytest.mark.parametrize("multiplier", [False, True])
@pytest.mark.parametrize("kernels, positions, density, set_size", [
    (64, 96, 0.125, 8), (60, 50, 0.1, 16), (32, 40, 0.3, 3), (7, 20, 0.9, 32), (16, 16, 0.5, 1)])
def test_drop_conflicts(kernels, positions, density, set_size, multiplier):
    layer = make_layer(np.random.default_rng(kernels), kernels=kernels, positions=positions, density=density,
                       multiplier=multiplier)
    left, dropped = drop_conflicts(layer, set_size)
    gone = (layer.weights != 0) & (left.weights == 0)
    assert dropped == gone.sum()
    assert_array_equal(left.mask, left.weights != 0)
    assert_array_equal(left.weights[~gone], layer.weights[~gone])
    # The same deal of kernels to sets, by hand.
    size = layer.stages[0].multiplier if multiplier else np.ones(kernels, np.int64)
    real = np.abs(layer.weights) * size[:, np.newaxis]
    sets = pack(layer.weights != 0, set_size=set_size).members[0]
    assert len(sets) == -(-kernels // set_size)
    for members in sets:
        members = members[members >= 0]
        for position in range(positions):
            best = max(members, key=lambda kernel: (real[kernel, position], -kernel))
            for kernel in members:
                kept = kernel == best and layer.weights[kernel, position] != 0
                assert kept == left.mask[kernel, position]


def test_packs_as_asked():
    layer = make_layer(np.random.default_rng(1), kernels=128, positions=256, density=0.1)
    before = pack(layer.mask, set_size=8)
    left, _ = drop_conflicts(layer, 8)
    packing = pack(left.mask, set_size=8)
    assert (before.complementary, packing.complementary, packing.sets) == (False, True, 16)
    assert packing.fill == left.mask.sum() / packing.slots > before.fill


def test_nothing_dropped_where_nothing_conflicts():
    rng = np.random.default_rng(2)
    mask = complementary_mask(rng, 32, 64, 4)
    layer = replace(make_layer(rng, kernels=32, positions=64, density=0), weights=mask * 5, mask=mask)
    left, dropped = drop_conflicts(layer, 4)
    assert dropped == 0
    assert_array_equal(left.weights, layer.weights)


def test_larger_sets_than_there_are_kernels():
    layer = make_layer(np.random.default_rng(10), kernels=7, positions=20, density=0.9)
    left, dropped = drop_conflicts(layer, 1000)
    wanted, count = drop_conflicts(layer, 7)
    assert dropped == count > 0
    assert_array_equal(left.weights, wanted.weights)
    assert_array_equal(left.sets, wanted.sets)
    (first,) = make_lossy(make_network(layer), 1000, last=True).layers
    assert_array_equal(first.weights, wanted.weights)


def test_weight_that_is_zero_conflicts_with_none():
    layer = make_layer(np.random.default_rng(3), kernels=2, positions=3, density=1)
    layer = replace(layer, weights=np.array([[1, 0, 3], [0, 2, 0]]))
    left, dropped = drop_conflicts(layer, 2)
    assert dropped == 0
    assert_array_equal(left.mask, [[True, False, True], [False, True, False]])


@pytest.mark.parametrize("stages", [(), (Thresholds(values=np.array([[0], [5]]), low=0),)])
def test_magnitude_without_multiplier(stages):
    layer = make_layer(np.random.default_rng(4), kernels=2, positions=2, density=1, stages=stages)
    left, dropped = drop_conflicts(replace(layer, weights=np.array([[-7, 3], [6, -3]])), 2)
    assert dropped == 2
    assert_array_equal(left.weights, [[-7, 3], [0, 0]])


def test_network():
    rng = np.random.default_rng(5)
    mask = complementary_mask(rng, 24, 48, 4)
    network = make_network(
        make_layer(rng, kernels=48, positions=100, density=0.125, name="random"),
        replace(make_layer(rng, kernels=24, positions=48, density=0, name="sets"), weights=mask * 9, mask=mask),
        make_layer(rng, kernels=12, positions=24, density=1.1, name="dense"),
        make_layer(rng, kernels=10, positions=12, density=0.3, name="last", stages=()))
    lossy = make_lossy(network)
    assert_array_equal(lossy.layers[0].weights, drop_conflicts(network.layers[0], 8)[0].weights)
    assert pack(lossy.layers[0].mask, set_size=8).complementary
    assert lossy.layers[1:] == network.layers[1:]


def test_network_as_asked():
    rng = np.random.default_rng(6)
    network = make_network(make_layer(rng, kernels=12, positions=24, density=1.1, name="dense"),
                           make_layer(rng, kernels=10, positions=12, density=0.3, name="last", stages=()))
    lossy = make_lossy(network, 4, last=True)
    assert int(lossy.layers[0].mask.sum()) == 3 * 24
    for layer in lossy.layers:
        assert pack(layer.mask, set_size=4).complementary
    assert make_lossy(lossy, 4, last=True).layers == lossy.layers
    assert make_lossy(lossy, 3, last=True).layers == lossy.layers
    assert make_lossy(network, 4).layers[1] is network.layers[1]


def test_empty_layer_is_left():
    network = make_network(make_layer(np.random.default_rng(7), kernels=4, positions=4, density=0),
                           make_layer(np.random.default_rng(8), kernels=4, positions=4, density=1, name="last"))
    assert make_lossy(network).layers == network.layers


@pytest.mark.parametrize("size, error, message", [
    (0, ValueError, "set_size must be a positive integer, not 0"),
    (2.0, TypeError, "set_size must be a positive integer, not 2.0"),
])
def test_wrong(size, error, message):
    layer = make_layer(np.random.default_rng(9), kernels=4, positions=4, density=1)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        drop_conflicts(layer, size)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make_lossy(make_network(layer), size)
