"""Names of netlists in the design's own terms."""

import pytest

from dovetail.boards.critical_path import PathStep, describe, steps


@pytest.mark.parametrize("name, words", [
    ("core.layer1.engine.lane0.bank1.file.address_now_TRELLIS_FF_Q_3",
     "fc2: engine, lane 0, bank 1, accumulator, address_now"),
    ("core.layer0.engine.lane12.weights.chunk0.0.0", "fc1: engine, lane 12, weights"),
    ("core.layer1.engine.lane0.weights.chunk0.0.2_DOA6_LUT4_Z", "fc2: engine, lane 0, weights"),
    ("core.layer0.engine.drain$60.bias0.chunk0.0.1", "fc1: engine, drain, biases 0"),
    ("core.layer0.select.finder.memory0_1.0.0_DOB5_LUT4_Z_D_CCU2C_S1", "fc1: select, k-WTA, memory0_1"),
    ("core.layer0.stage0.data_SB_DFFE_Q", "fc1: stage 0, data"),
    ("core.layer0.engine.lane0.buffer.$signal$12_SB_DFFE_Q", "fc1: engine, lane 0, replay buffer"),
    ("core.input.held_SB_LUT4_O_3", "input frames, held"),
    ("core.layer7.engine.slot", "layer7, engine, slot"),
    ("$abc$1.core.output.word", "output frames, word"),
    ("sent_TRELLIS_FF_Q_9", "registers around the core"),
])
def test_describe(name, words):
    assert describe(name, ["fc1", "fc2"]) == words


def test_steps_of_one_unit_are_one():
    def step(kind, delay, start, end):
        return {"type": kind, "delay": delay, "from": {"cell": f"core.{start}"}, "to": {"cell": f"core.{end}"}}

    weights, lut, weight = "layer0.engine.lane0.weights.0", "layer0.engine.lane0.weights.0_DOA_LUT4_Z", "layer0.x"
    found = steps([
        step("clk-to-q", 5.0, weights, weights), step("routing", 2.0, weights, lut), step("logic", 0.25, lut, lut),
        {"type": "logic", "delay": 0.0, "from": {"cell": "$PACKER_1"}, "to": {"cell": "$PACKER_1"}},
        step("routing", 1.0, lut, weight), step("setup", 0.5, weight, weight)], ["fc1"])
    assert found == (
        PathStep(unit="fc1: engine, lane 0, weights", names=(f"core.{weights}", f"core.{lut}", "$PACKER_1"),
                 logic_ns=5.25, routing_ns=3.0),
        PathStep(unit="fc1: x", names=(f"core.{weight}",), logic_ns=0.5, routing_ns=0.0),
    )


def test_no_path():
    assert steps([], ["fc1"]) == ()
