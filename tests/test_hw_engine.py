# amaranth: UnusedElaboratable=no
"""The engine as a whole: sums, order, every cycle, stalls and resets."""

import numpy as np
import pytest
from builders import check_cycles, make_engine, make_vectors, run_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.hw.arch import AccumulatorKind, EngineArch, EngineImages, ceil_div
from dovetail.hw.engine import Engine, memories
from dovetail.sim.engine_cycles import EngineCycles, lane_slots


def check(case, vectors, **run):
    log = run_engine(case, vectors, **run)
    got = np.array(log.outputs).reshape(len(vectors), case.arch.beats, case.arch.drain_width)
    np.testing.assert_array_equal(got, case.expected(vectors))
    check_cycles(case, vectors, log)
    return log


SHAPES = {
    # positions, lanes, banks, folds, set_size, columns, drain_width
    "one of everything": (1, 1, 1, 1, 1, 1, 1),
    "a position a lane": (4, 4, 1, 1, 2, 2, 1),
    "N = 1": (7, 2, 3, 2, 1, 1, 1),
    "N = 2, wide drain": (9, 3, 1, 3, 2, 1, 2),
    "N = 3, kids rounded up": (11, 2, 2, 1, 3, 4, 4),
    "N = 5, drain wider than columns": (13, 3, 5, 2, 5, 2, 8),
    "N = 5, columns wider than drain": (10, 1, 3, 3, 5, 4, 2),
    "N = 16": (33, 4, 3, 1, 16, 2, 4),
    "N = 25": (21, 3, 1, 2, 25, 4, 1),
    "N = 25, one word": (6, 1, 2, 3, 25, 4, 8),
}


def shape(name):
    names = ("positions", "lanes", "banks", "folds", "set_size", "columns", "drain_width")
    return dict(zip(names, SHAPES[name], strict=True))


@pytest.mark.parametrize("kind", AccumulatorKind)
@pytest.mark.parametrize("name", SHAPES)
def test_indexed(name, kind):
    rng = np.random.default_rng(1)
    case = make_engine(rng, **shape(name), accumulator=kind)
    length = case.arch.positions
    vectors = make_vectors(case, rng, [length, 0, 1, length // 2, length, 0, 0, length // 3])
    check(case, vectors)


@pytest.mark.parametrize("name", SHAPES)
def test_every_position_arrives(name):
    rng = np.random.default_rng(2)
    case = make_engine(rng, **shape(name), indexed=False)
    vectors = make_vectors(case, rng, [case.arch.positions // 2, 0, case.arch.positions, 1])
    check(case, vectors)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(("most_rows", "folds", "lanes"), [(1, 1, 1), (2, 3, 2), (4, 1, 3), (3, 2, 4)])
def test_row_table(most_rows, folds, lanes, indexed):
    """Positions have 0 to `most_rows` rows; lanes without a pair, too, must keep to the predicted cycles."""
    rng = np.random.default_rng(most_rows)
    case = make_engine(rng, positions=13, lanes=lanes, banks=2, folds=folds, set_size=5, columns=2, drain_width=2,
                       most_rows=most_rows, indexed=indexed)
    vectors = make_vectors(case, rng, [13, 1, 0, 6, 1, 2, 13, 1])
    check(case, vectors)


def test_position_without_rows_behind_a_full_lane():
    """Its row number would be 8, which three bits do not hold."""
    arch = EngineArch(positions=9, lanes=1, banks=1, folds=1, set_size=2, capacity=9, lane_rows=8, row_table=True)
    weights = tuple(1 | (position % 2) << 8 for position in range(8))
    images = EngineImages(weights=(weights,), rows=(tuple(p | 1 << 3 for p in range(8)) + (0,),), biases=((0, 0),))
    rng = np.random.default_rng(0)
    case = make_engine(rng, positions=9, set_size=2)
    slots = [(0, 0, position, 1, position % 2) for position in range(8)]
    case = type(case)(arch=arch, images=images, slots=slots, rows=np.array([[1] * 8 + [0]]))
    check(case, np.array([range(1, 10), [0] * 8 + [255]]))


@pytest.mark.parametrize("capacity", [1, 2, 3, 4])
def test_capacity(capacity):
    """Fewer pairs than positions are stored; both halves of the buffer are used in turn, to the last place."""
    rng = np.random.default_rng(3)
    case = make_engine(rng, positions=15, lanes=3, set_size=4, columns=2, capacity=capacity)
    check(case, make_vectors(case, rng, [15] * 5 + [1] * 3))


@pytest.mark.parametrize(("weight_bits", "activation_bits", "signed"), [
    (2, 1, False), (2, 2, True), (4, 8, True), (8, 4, False), (16, 16, False), (8, 8, True),
])
def test_widths(weight_bits, activation_bits, signed):
    rng = np.random.default_rng(4)
    case = make_engine(rng, positions=12, lanes=2, banks=3, set_size=3, columns=1, drain_width=3, sum_bits=40,
                       weight_bits=weight_bits, activation_bits=activation_bits, activation_signed=signed)
    vectors = make_vectors(case, rng, [12, 12, 5])
    top = (1 << activation_bits - signed) - 1
    vectors[1] = -(1 << activation_bits - 1) if signed else top
    check(case, vectors)


@pytest.mark.parametrize("extreme", [-8, 7])
def test_sums_fill_their_width(extreme):
    """The least and the greatest sum, -8 and 7, in 4 bits."""
    arch = EngineArch(positions=7, lanes=2, banks=1, folds=1, set_size=1, columns=1, capacity=4, lane_rows=4,
                      sum_bits=4, weight_bits=2, activation_bits=1)
    weight = -1 if extreme < 0 else 1
    images = EngineImages(weights=((weight & 3,) * 4,) * 2, biases=((-1 if extreme < 0 else 0,),))
    case = make_engine(np.random.default_rng(0), positions=1)
    case = type(case)(arch=arch, images=images, rows=None, slots=[(0, 0, p, weight, 0) for p in range(7)])
    log = check(case, np.ones((2, 7), np.int64))
    assert log.outputs == [[extreme], [extreme]]


@pytest.mark.parametrize("gap", [0.0, 0.5])
@pytest.mark.parametrize("wait", [0.5, 0.98])
@pytest.mark.parametrize("most_rows", [None, 2])
def test_stalls(gap, wait, most_rows):
    rng = np.random.default_rng(5)
    case = make_engine(rng, positions=17, lanes=3, banks=2, folds=2, set_size=5, columns=2, drain_width=2,
                       most_rows=most_rows)
    check(case, make_vectors(case, rng, [17, 0, 5, 9, 0, 17, 1, 17]), gap=gap, wait=wait, seed=int(wait * 100))


@pytest.mark.parametrize("kind", AccumulatorKind)
@pytest.mark.parametrize("reset_after", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 17, 23, 30, 41])
def test_reset(kind, reset_after):
    """After a reset, at any time, sums *and* cycles are those of power-up."""
    rng = np.random.default_rng(reset_after)
    case = make_engine(rng, positions=9, lanes=2, banks=2, folds=2, set_size=3, columns=2, accumulator=kind)
    before, vectors = (make_vectors(case, rng, [9] * count) for count in (4, 2))
    check(case, vectors, before=before, reset_after=reset_after)


def test_back_to_back_vectors_are_not_slower_than_their_slots():
    """The drain is hidden: one vector takes its pairs' cycles plus one drain slot a word."""
    rng = np.random.default_rng(6)
    case = make_engine(rng, positions=64, banks=2, set_size=8, columns=2, drain_width=2)
    log = check(case, make_vectors(case, rng, [64] * 8))
    assert np.diff(log.done[3:]).tolist() == [64 + case.arch.drain_slots] * 4


@given(data=st.data())
@settings(max_examples=15)
def test_anything(data):
    choose = data.draw
    positions = choose(st.integers(1, 30))
    lanes = choose(st.integers(1, min(4, positions)))
    indexed = choose(st.booleans())
    capacity = choose(st.integers(1, ceil_div(positions, lanes))) if indexed else None
    rng = np.random.default_rng(choose(st.integers(0, 2**32 - 1)))
    case = make_engine(
        rng, positions=positions, lanes=lanes, indexed=indexed, capacity=capacity, banks=choose(st.integers(1, 4)),
        folds=choose(st.integers(1, 3)), set_size=choose(st.integers(1, 25)),
        columns=choose(st.sampled_from([1, 2, 4])), drain_width=choose(st.sampled_from([1, 2, 4, 8])),
        weight_bits=choose(st.integers(2, 9)),
        activation_bits=choose(st.integers(1, 9)), activation_signed=choose(st.booleans()),
        most_rows=choose(st.sampled_from([None, 1, 2, 3])), accumulator=choose(st.sampled_from(AccumulatorKind)))
    counts = choose(st.lists(st.integers(0, positions), min_size=1, max_size=5))
    check(case, make_vectors(case, rng, counts), gap=choose(st.sampled_from([0.0, 0.4])),
          wait=choose(st.sampled_from([0.0, 0.9])), seed=choose(st.integers(0, 999)))


def test_memories():
    case = make_engine(np.random.default_rng(0), positions=5, lanes=2, banks=2, set_size=3, columns=2, folds=2,
                       most_rows=2, drain_width=2)
    arch = case.arch
    found = memories(arch, case.images)
    assert [name for name, *_ in found] == ["weights0", "weights1", "rows0", "rows1", "biases0", "biases1"]
    for name, width, depth, rows in found:
        assert len(rows) <= depth, name
        assert all(0 <= row < 1 << width for row in rows), name
    assert found[0][1:3] == (2 * (8 + 2), arch.lane_rows)
    assert found[2][2] == 2 * 3 and found[4][2] == arch.beats


class TestLaneSlots:
    arch = EngineArch(positions=5, lanes=2, banks=1, folds=2, set_size=1, columns=1, capacity=3, lane_rows=6)

    def test_one_row(self):
        selected = np.array([[1, 1, 1, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]], bool)
        np.testing.assert_array_equal(
            lane_slots(self.arch, selected), [[[3, 1], [3, 1]], [[1, 1], [1, 1]], [[1, 1], [1, 1]]])

    def test_rows(self):
        rows = np.array([[2, 0, 3, 1, 0], [0, 0, 0, 5, 0]])
        selected = np.array([[1, 1, 1, 1, 1], [0, 1, 0, 0, 1]], bool)
        np.testing.assert_array_equal(lane_slots(self.arch, selected, rows), [[[6, 2], [3, 6]], [[1, 1], [1, 1]]])


def test_model_follows_what_it_was_not_built_for():
    """A planted error of one cycle is seen."""
    rng = np.random.default_rng(7)
    case = make_engine(rng, positions=9, banks=2, set_size=3)
    vectors = make_vectors(case, rng, [9, 4, 9])
    log = run_engine(case, vectors)
    model = EngineCycles(case.arch)
    slots = lane_slots(case.arch, vectors != 0)
    slots[0] += 1
    done = [model.vector(slots[n], last_input=log.last[n], token=log.token[n]).last_beat for n in range(3)]
    assert done != log.done


@pytest.mark.parametrize("member", ["i", "credit", "o"])
def test_ports(member):
    case = make_engine(np.random.default_rng(0), positions=3)
    dut = Engine(case.arch, case.images)
    assert member in dut.signature.members
    assert "load" not in dut.signature.members
