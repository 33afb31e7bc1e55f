# amaranth: UnusedElaboratable=no
"""The pool's cycle model: every token and every beat in exactly the predicted cycle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import geometries, random_images, run_pool

from dovetail.hw.arch import PoolArch
from dovetail.sim.pool_cycles import PoolCycles, Pooled


def make_arch(**options):
    return PoolArch(**{"height": 3, "width": 4, "kernel": (2, 2), "strides": (2, 2), "beats": 2, "ports": 1,
                       "value_bits": 2} | options)


def check(arch, seed, *, images=2, **behaviour):
    run = run_pool(arch, random_images(arch, np.random.default_rng(seed), images), seed=seed, **behaviour)
    model = PoolCycles(arch)
    pooled, beats = [], np.reshape(run.beats, (-1, arch.beats))

    def consumer():
        return run.o_valid[len(pooled)] if model.leaves else 0

    for valid, taken, vector in zip(run.valid, run.taken, beats.tolist(), strict=False):
        assert model.token(consumer()) == valid
        pooled.append(model.vector(taken=taken, first_beat=vector[0], last_beat=vector[-1]))
        pooled = list(filter(None, pooled))
        while model.is_padding:
            pooled = list(filter(None, [*pooled, model.pad(consumer())]))
    o_beats = np.reshape(run.o_beats, (-1, arch.beats))
    assert [one.taken for one in pooled] == run.o_taken
    assert [one.first_beat for one in pooled] == o_beats[:, 0].tolist()
    assert [one.last_beat for one in pooled] == o_beats[:, -1].tolist()
    if len(run.valid) > len(run.taken):
        assert model.token() == run.valid[-1]


BEHAVIOURS = [
    {"ahead": 4}, {"gap": 0.4}, {"hold": 0.5, "gap": 0.1, "ahead": 3}, {"starve": 0.8, "ahead": 2},
    {"gap": 0.2, "hold": 0.3, "starve": 0.97},
]


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (1, 4)], ids=str)
def test_random(kernel, behaviour):
    found = geometries([kernel], [(1, 1), (2, 2), (3, 2)], [0, 1], [(4, 5), (1, 3)])
    for number, geometry in enumerate(found):
        check(make_arch(**geometry, beats=(1, 2, 5)[number % 3]), number, **behaviour)


@settings(max_examples=30)
@given(data=st.data())
def test_any(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    kernel = draw(1, 4), draw(1, 4)
    pads = tuple(draw(0, span - 1) for span in kernel * 2)
    height, width = (max(draw(1, 5), span - pads[axis] - pads[axis + 2]) for axis, span in enumerate(kernel))
    arch = make_arch(height=height, width=width, kernel=kernel, strides=(draw(1, 4), draw(1, 4)), pads=pads,
                     beats=draw(1, 4))
    check(arch, draw(0, 1 << 30), gap=data.draw(st.sampled_from([0.0, 0.4])), ahead=draw(1, 5),
          hold=data.draw(st.sampled_from([0.0, 0.4])), starve=data.draw(st.sampled_from([0.0, 0.4, 0.95])))


def test_rate():
    """As fast as beats come: nine vectors of a 3x3 pool in as many beats, and the pooled one six cycles later."""
    model, taken, pooled = PoolCycles(make_arch(height=3, width=3, kernel=(3, 3))), 0, None
    for vector in range(9):
        assert model.token(0) == taken
        pooled = model.vector(taken=taken, first_beat=2 * vector + 1, last_beat=2 * vector + 2)
        taken += 1
    assert pooled == Pooled(taken=8, first_beat=23, last_beat=24)


def test_wrong():
    model = PoolCycles(make_arch(width=1, kernel=(1, 2), strides=(1, 1), pads=(0, 1, 0, 1)))
    with pytest.raises(ValueError, match=r"^vector must be called before pad: the next position is a vector's$"):
        model.pad()
    with pytest.raises(ValueError, match=r"^taken must be at least 0, not -1$"):
        model.vector(taken=-1, first_beat=1, last_beat=2)
    with pytest.raises(ValueError, match=r"^first_beat must be at least 4, not 3$"):
        model.vector(taken=3, first_beat=3, last_beat=9)
    with pytest.raises(ValueError, match=r"^last_beat must be at least 6, not 5$"):
        model.vector(taken=3, first_beat=5, last_beat=5)
    assert model.vector(taken=3, first_beat=5, last_beat=6) == Pooled(taken=3, first_beat=8, last_beat=9)
    with pytest.raises(ValueError, match=r"^pad must be called before token: the next position is padding$"):
        model.token()
    assert model.pad() == Pooled(taken=7, first_beat=11, last_beat=12)
    assert model.token() == 10
