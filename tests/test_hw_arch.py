# amaranth: UnusedElaboratable=no
"""Architecture records: derived numbers, and everything they refuse."""

from dataclasses import replace

import pytest

from dovetail.hw.accumulator import AccumulatorFile
from dovetail.hw.arch import (
    AccumulatorKind,
    EngineArch,
    LayerArch,
    Mode,
    NetworkArch,
    PoolArch,
    ScaleArch,
    SelectArch,
    SelectKind,
    ThresholdArch,
    WindowArch,
    bits_for,
    ceil_div,
)
from dovetail.hw.sequencer import RowTable

ENGINE = EngineArch(positions=10, lanes=2, banks=3, folds=2, set_size=5, columns=2, drain_width=4, capacity=5,
                    lane_rows=10)
SCALE = ScaleArch(multiplier_bits=8, shift=3, low=0, high=255)
THRESHOLDS = ThresholdArch(count=3, low=-2)
SELECT = SelectArch(kernels=28, width=4, beats=12, value_bits=8, kind=SelectKind.GLOBAL, winners=3, lanes=2)
LAYER = LayerArch(name="a", mode=Mode.SPARSE_SPARSE, engine=ENGINE, stages=(SCALE,), select=SELECT)


@pytest.mark.parametrize(("a", "b", "quotient"), [(0, 3, 0), (1, 3, 1), (3, 3, 1), (4, 3, 2), (7, 1, 7)])
def test_ceil_div(a, b, quotient):
    assert ceil_div(a, b) == quotient


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_bits_for(count, bits):
    assert bits_for(count) == bits


def test_engine_numbers():
    """10 positions on 2 lanes; sets of 5 in groups of 4, so 8 KIDs a bank."""
    expected = {
        "multipliers": 6, "lane_positions": 5, "group": 4, "kids": 8, "kid_bits": 3, "slot_bits": 11, "drain_slots": 4,
        "index_bits": 4, "groups": 2, "group_slots": 2, "group_beats": 3, "group_period": 4, "fold_beats": 6,
        "beats": 12,
    }
    assert {name: getattr(ENGINE, name) for name in expected} == expected


def test_engine_numbers_of_a_narrow_drain():
    engine = replace(ENGINE, columns=4, drain_width=1, set_size=9)
    expected = {"group": 4, "kids": 12, "drain_slots": 3, "groups": 3, "group_slots": 1, "group_beats": 12,
                "group_period": 12, "fold_beats": 36, "beats": 72}
    assert {name: getattr(engine, name) for name in expected} == expected


INTEGERS = ("positions", "lanes", "banks", "folds", "set_size", "columns", "drain_width", "weight_bits",
            "activation_bits", "sum_bits", "capacity", "lane_rows", "most_rows")


@pytest.mark.parametrize("name", INTEGERS)
def test_engine_amount_wrong(name):
    with pytest.raises(ValueError, match=rf"^{name} must be at least 1, not 0$"):
        replace(ENGINE, **{name: 0})


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(("value", "shown"), [(1.0, r"1\.0"), ("2", "'2'"), (True, "True"), (None, "None")])
def test_engine_kind_wrong(name, value, shown):
    with pytest.raises(TypeError, match=rf"^{name} must be an integer, not {shown}$"):
        replace(ENGINE, **{name: value})


@pytest.mark.parametrize("soft", range(7))
def test_soft_pairs(soft):
    """As many as are wanted, the last banks', and hardly more in one lane than in another."""
    engine = replace(ENGINE, soft=soft)
    pairs = [[engine.is_soft(lane, bank) for bank in range(3)] for lane in range(2)]
    counts = [sum(lane) for lane in pairs]
    assert sum(counts) == soft and max(counts) - min(counts) <= 1
    assert all(lane == sorted(lane) for lane in pairs)


@pytest.mark.parametrize(("change", "message"), [
    ({"columns": 3}, r"^columns must be a power of two, not 3$"),
    ({"drain_width": 3}, r"^drain_width must divide columns or be a multiple of it, not 3$"),
    ({"columns": 8, "drain_width": 6}, r"^drain_width must divide columns or be a multiple of it, not 6$"),
    ({"lanes": 11}, r"^lanes must be at most positions \(10\), not 11$"),
    ({"weight_bits": 1}, r"^weight_bits must be at least 2, not 1$"),
    ({"bias_bits": 0}, r"^bias_bits must be 1 to sum_bits \(24\), not 0$"),
    ({"bias_bits": 25}, r"^bias_bits must be 1 to sum_bits \(24\), not 25$"),
    ({"soft": -1}, r"^soft must be 0 to 6, not -1$"),
    ({"soft": 7}, r"^soft must be 0 to 6, not 7$"),
])
def test_engine_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ENGINE, **change)


@pytest.mark.parametrize(("change", "message"), [
    ({"multiplier_bits": -1}, r"^multiplier_bits must be at least 0, not -1$"),
    ({"offset_bits": -1}, r"^offset_bits must be at least 0, not -1$"),
    ({"shift": -1}, r"^shift must be at least 0, not -1$"),
    ({"low": 256}, r"^low must be at most high \(255\), not 256$"),
    ({"offset": 4, "offset_bits": 3}, r"^offset must be 0 where kernels have their own, not 4$"),
])
def test_scale_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SCALE, **change)


@pytest.mark.parametrize("name", ["multiplier_bits", "offset_bits", "offset", "shift", "low", "high"])
def test_scale_kind_wrong(name):
    with pytest.raises(TypeError, match=rf"^{name} must be an integer, not 8\.5$"):
        replace(SCALE, **{name: 8.5})


@pytest.mark.parametrize("name", ["count", "step"])
def test_thresholds_wrong(name):
    with pytest.raises(ValueError, match=rf"^{name} must be at least 1, not 0$"):
        replace(THRESHOLDS, **{name: 0})


@pytest.mark.parametrize("name", ["count", "low", "step"])
def test_thresholds_kind_wrong(name):
    with pytest.raises(TypeError, match=rf"^{name} must be an integer, not None$"):
        replace(THRESHOLDS, **{name: None})


@pytest.mark.parametrize(("low", "high", "found"), [
    (0, 255, (8, False)), (0, 256, (9, False)), (5, 7, (3, False)), (0, 0, (1, False)), (-1, 1, (2, True)),
    (-128, 127, (8, True)), (-129, 0, (9, True)), (-81, 174, (9, True)), (-2, -1, (2, True))])
def test_code_formats(low, high, found):
    """What holds both ends, zero and one."""
    assert replace(SCALE, low=low, high=high).code_format == found
    if high > low:
        stage = ThresholdArch(count=1, low=low, step=high - low)
        assert (stage.high, stage.code_format) == (high, found)


def test_stage_formats():
    assert LAYER.stage_formats == ((24, True),)
    assert replace(LAYER, stages=(THRESHOLDS, SCALE)).stage_formats == ((24, True), (2, True))
    assert replace(LAYER, stages=()).stage_formats == ()


@pytest.mark.parametrize(("change", "message"), [
    ({"kernels": 0}, r"^kernels must be at least 1, not 0$"),
    ({"lanes": 3}, r"^lanes must divide width \(4\) or be a multiple of it, not 3$"),
    ({"winners": 0}, r"^winners must be 1 to 28, not 0$"),
    ({"winners": 29}, r"^winners must be 1 to 28, not 29$"),
    ({"value_signed": True}, r"^value_signed must be False for 'global', not True$"),
    ({"bins": 3}, r"^bins must be a power of two of at most 256, not 3$"),
    ({"bins": 512}, r"^bins must be a power of two of at most 256, not 512$"),
    ({"turns": 0}, r"^turns must be at least 1, not 0$"),
    ({"turns": 2, "kind": SelectKind.ALL}, r"^turns must be 1 for 'all', not 2$"),
    ({"early": 1}, r"^early must be 0 to 0 for 'global', not 1$"),
    ({"early": 17, "kind": SelectKind.LOCAL}, r"^early must be 0 to 16 for 'local', not 17$"),
    ({"early": -1, "kind": SelectKind.LOCAL}, r"^early must be 0 to 16 for 'local', not -1$"),
    ({"buffers": 0}, r"^buffers must be at least 1, not 0$"),
    ({"buffers": 6}, r"^buffers must be a power of two, not 6$"),
])
def test_select_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SELECT, **change)


@pytest.mark.parametrize(
    "name", ["kernels", "width", "beats", "value_bits", "lanes", "bins", "turns", "early", "buffers"])
def test_select_kind_wrong(name):
    with pytest.raises(TypeError, match=rf"^{name} must be an integer, not 4\.0$"):
        replace(SELECT, **{name: 4.0})


def test_tokens_too_early():
    """Nothing is known of an engine with folds."""
    select = replace(SELECT, kind=SelectKind.LOCAL)
    assert LAYER.way == 1
    assert replace(LAYER, select=replace(select, early=2)).select.early == 2
    with pytest.raises(ValueError, match=r"^early must be at most 2, not 3$"):
        replace(LAYER, select=replace(select, early=3))


def test_select_numbers():
    assert (SELECT.words, SELECT.address_bits, SELECT.is_kwta) == (7, 4, True)
    assert not replace(SELECT, kind=SelectKind.NONZERO).is_kwta


SECOND = replace(LAYER, name="b", engine=replace(ENGINE, positions=28, capacity=14))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: NetworkArch(layers=(), input_width=1), r"^layers must hold at least one layer, not \(\)$"),
    (lambda: NetworkArch(layers=(LAYER,), input_width=0), r"^input_width must be at least 1, not 0$"),
    (lambda: NetworkArch(layers=(LAYER,), input_width=3),
     r"^input_width must divide the first layer's lanes \(2\), not 3$"),
    (lambda: NetworkArch(layers=(LAYER, LAYER), input_width=1), r"^layers must fit together, not 'a' and 'a'$"),
    (lambda: NetworkArch(layers=(LAYER, replace(SECOND, engine=replace(SECOND.engine, lanes=4))), input_width=1),
     r"^layers must fit together, not 'a' and 'b'$"),
])
def test_network_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_network():
    assert not NetworkArch(layers=(LAYER, SECOND), input_width=2).loadable


@pytest.mark.parametrize(("change", "message"), [
    ({"columns": 3}, r"^columns must be a power of two, not 3$"),
    ({"columns": 0}, r"^columns must be a power of two, not 0$"),
    ({"kids": 6}, r"^kids must be a multiple of columns \(4\), not 6$"),
    ({"kids": 0}, r"^kids must be a multiple of columns \(4\), not 0$"),
])
def test_accumulator_file_wrong(change, message):
    given = {"kids": 8, "columns": 4, "sum_bits": 8, "product_bits": 4, "kind": AccumulatorKind.LUT_RAM}
    with pytest.raises(ValueError, match=message):
        AccumulatorFile(**given | change)


def test_accumulator_file_kind_wrong():
    with pytest.raises(TypeError, match=r"^kind must be an AccumulatorKind, not 'lut-ram'$"):
        AccumulatorFile(kids=8, columns=4, sum_bits=8, product_bits=4, kind="lut-ram")


def test_row_table_wrong():
    with pytest.raises(TypeError, match=r"^rows must be given for a row table, not None$"):
        RowTable(replace(ENGINE, row_table=True), None)


#: Two channels of 6 x 5 pixels; a window of 2 x 3 taps, a lane for each of a row's.
WINDOW = WindowArch(channels=2, height=6, width=5, kernel=(2, 3), lanes=3, slots=1, input_lanes=2)
POOL = PoolArch(height=5, width=3, kernel=(2, 1), strides=(2, 1), beats=12, ports=4, value_bits=8)
CONVOLUTION = replace(
    LAYER, window=WINDOW, pool=POOL,
    engine=replace(ENGINE, positions=12, lanes=3, capacity=2, lane_rows=8, own_addresses=True))


def test_numbers_of_a_convolution():
    assert (CONVOLUTION.elements, CONVOLUTION.arrivals, CONVOLUTION.input_lanes, CONVOLUTION.pixels) == (2, 30, 2, 6)
    assert replace(CONVOLUTION, pool=None).pixels == 15
    assert (LAYER.elements, LAYER.arrivals, LAYER.input_lanes, LAYER.pixels) == (10, 1, 2, 1)
    joined = replace(LAYER, joined=5)
    assert (joined.elements, joined.arrivals, joined.input_lanes, joined.pixels) == (2, 5, 2, 1)
    arch = NetworkArch(layers=(CONVOLUTION,), input_width=2)
    assert (arch.input_codes, arch.input_beats, arch.input_pixels, arch.output_beats) == (60, 30, 30, 42)


@pytest.mark.parametrize(("layer", "change", "message"), [
    (LAYER, {"window": WINDOW}, r"^own_addresses must be True, not False$"),
    (CONVOLUTION, {"window": None, "pool": None}, r"^own_addresses must be False, not True$"),
    (LAYER, {"joined": 3}, r"^joined must divide positions \(10\), not 3$"),
    (LAYER, {"joined": 2}, r"^lanes must divide the 5 channels of a pixel, not 2$"),
    (CONVOLUTION, {"joined": 2}, r"^joined must be 1 for a convolution, not 2$"),
    (CONVOLUTION, {"window": replace(WINDOW, channels=3)},
     r"^positions of the engine must be the window's, 18, not 12$"),
    (CONVOLUTION, {"window": replace(WINDOW, lanes=1)}, r"^lanes of the engine must be the window's, 1, not 3$"),
    (CONVOLUTION, {"window": replace(WINDOW, indexed=False, slots=2)},
     r"^indexed of the engine must be the window's, False, not True$"),
    (CONVOLUTION, {"window": replace(WINDOW, activation_bits=4)},
     r"^activation_bits of the engine must be the window's, 4, not 8$"),
    (CONVOLUTION, {"pool": replace(POOL, height=6)}, r"^pool must take the image of the windows, not 6 x 3$"),
    (LAYER, {"pool": POOL}, r"^pool must take the image of the windows, not 5 x 3$"),
    (CONVOLUTION, {"pool": replace(POOL, beats=11)}, r"^pool must take 12 beats of 4, not 11 of 4$"),
    (CONVOLUTION, {"pool": replace(POOL, value_bits=7)}, r"^pool must hold codes of 8 bits, not 7$"),
])
def test_layer_wrong(layer, change, message):
    with pytest.raises(ValueError, match=message):
        replace(layer, **change)


def test_images_that_do_not_fit():
    before = replace(CONVOLUTION, name="b", pool=None, select=replace(SELECT, kernels=2, winners=1))
    after = replace(CONVOLUTION, pool=None, window=replace(WINDOW, height=5, width=3))
    NetworkArch(layers=(before, after), input_width=2)
    for wrong in (replace(WINDOW, height=6, width=3), replace(WINDOW, height=5, width=3, input_lanes=1)):
        with pytest.raises(ValueError, match=r"^layers must fit together, not 'b' and 'a'$"):
            NetworkArch(layers=(before, replace(CONVOLUTION, pool=None, window=wrong)), input_width=2)
    with pytest.raises(ValueError, match=r"^input_width must divide the image's channels \(2\) and be the first "
                                         r"window's input_lanes \(2\), not 1$"):
        NetworkArch(layers=(CONVOLUTION,), input_width=1)
    with pytest.raises(ValueError, match=r"^joined must be 1 in the first layer, not 5$"):
        NetworkArch(layers=(replace(LAYER, joined=5),), input_width=2)
