"""Where the multipliers' time goes: counted again, slot by slot, from the masks."""

import re

import numpy as np
import pytest
import test_sim_convolutions as convolutions
import test_sim_unrolled as unrolled
from models import make_mlp

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import main
from dovetail.hw.arch import Mode
from dovetail.sim import golden
from dovetail.sim.cycles import layer_cycles
from dovetail.sim.time_shares import TimeShares, time_shares
from dovetail.sw.data import load_samples
from dovetail.sw.quantise import input_codes


@pytest.fixture(scope="module", params=[
    "", "[layers.fc0_node]\nlanes = 4\nbanks = 2\n[layers.fc1_node]\nlanes = 2\nbanks = 1\nset_size = 5\n"],
    ids=["default", "given"])
def compiled(request, tmp_path_factory):
    """A build folder of random masks; its inputs; what compile printed."""
    folder = tmp_path_factory.mktemp("shares")
    model = make_mlp(folder / "m.onnx", sizes=(37, 30, 20, 4), winners=(9, 5), seed=5, densities=(0.3, 0.4, 1.0))
    np.savez(folder / "x.npz", x=np.random.default_rng(1).integers(0, 256, (20, 37)).astype(np.uint8))
    (folder / "plan.toml").write_text(request.param)
    command = ["compile", str(model), "-o", str(folder / "build"), "--calibration", str(folder / "x.npz"), "--config",
               str(folder / "plan.toml")]
    return folder, command


def by_hand(planned, result, cycles):
    """Useful, empty, draining, and idle multiplier cycles of an inference, one slot after the other; then what lanes
    lack to the longest one."""
    arch, layer, packing = planned.arch.engine, planned.layer, planned.packing
    windows = result.inputs[:, np.newaxis] if layer.window is None else layer.window.gather(result.inputs)
    order = planned.order.tolist()
    useful = slots = lacking = 0
    for vector in windows.reshape(-1, layer.positions).tolist():
        of_lanes = [0] * arch.lanes
        for fold in range(arch.folds):
            for lane in range(arch.lanes):
                taken = 0
                for place in range(lane, layer.positions, arch.lanes):
                    position = order[place]
                    if vector[position] == 0 and planned.arch.mode is Mode.SPARSE_SPARSE:
                        continue
                    banks = [sum(bool(planned.mask[kernel, position]) for kernel in bank if kernel >= 0)
                             for bank in packing.members[fold].tolist()]
                    taken += max(1, *banks)
                    useful += sum(int(layer.weights[kernel, position] != 0)
                                  for bank in packing.members[fold].tolist() for kernel in bank if kernel >= 0)
                of_lanes[lane] += max(1, taken)
        slots += sum(of_lanes)
        lacking += sum(max(of_lanes) - own for own in of_lanes)
    frames = len(result.inputs)
    all_of_it = cycles * arch.lanes * arch.banks
    draining = layer.vectors * arch.folds * arch.drain_slots * arch.lanes * arch.banks
    worked = slots * arch.banks / frames
    return [share / all_of_it for share in (useful / frames, worked - useful / frames, draining,
                                            all_of_it - worked - draining, lacking * arch.banks / frames)]


def check(planned, result):
    alone = layer_cycles(planned, result)
    found = time_shares(planned, result, alone)
    *expected, lacking = by_hand(planned, result, alone.cycles_per_inference)
    shares = [found.useful, found.empty, found.draining, found.uneven + found.waiting]
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-12)
    assert found.useful == pytest.approx(alone.utilisation, abs=1e-12)
    assert found.uneven == pytest.approx(min(lacking, expected[3]), abs=1e-12)
    assert min(*shares, found.uneven, found.waiting) >= 0
    return found


def test_shares(capsys, compiled):
    folder, command = compiled
    assert main(command) == 0
    printed = capsys.readouterr().out.replace("\n  ", " ")
    plan = read_build(folder / "build").plan
    samples = load_samples(folder / "x.npz", (37,))
    results = golden.run(plan.network, input_codes(plan.network, samples.x))
    told = 0
    for planned, result in zip(plan.layers, results, strict=True):
        found = check(planned, result)
        line = re.search(rf"^{planned.layer.name}: multipliers (.*)$", printed, re.MULTILINE)
        assert (line is None) == (found.useful >= 0.8)
        if line is not None:
            told += 1
            numbers = [int(number) for number in re.findall(r"(\d+)%", line.group(1))]
            assert numbers == [number for share in (found.useful, found.empty, found.draining, found.uneven,
                                                    found.waiting) if (number := round(100 * share))]
            fill = re.findall(r"\d\.\d\d", line.group(1))
            if not round(100 * found.empty):
                assert not fill
                continue
            assert float(fill[0]) == round(planned.packing.fill, 2)
            assert len(fill) == 1 + (not planned.packing.complementary) and float(fill[0]) <= float(fill[-1]) <= 1
    assert told >= 1


@pytest.mark.parametrize("name", ["the shape of a real one", "unstructured masks", "every position", "dense",
                                  "ten channels", "strides of three, pads of three"])
def test_windows(name):
    """Folded convolutions, and what is behind them; in the dense modes padding is multiplied, too."""
    built = convolutions.build(name)
    for planned, result in zip(built.layers, golden.run(built.network, convolutions.some_codes(built)), strict=True):
        check(planned, result)


@pytest.mark.parametrize("name", ["no pool", "halves"])
def test_unrolled(name):
    """A window that enters is useful, and all else is waiting."""
    built = unrolled.build(name)
    planned, result = built.layers[0], golden.run(built.network, unrolled.some_codes(built))[0]
    alone = layer_cycles(planned, result)
    found, useful = time_shares(planned, result, alone), planned.layer.vectors / alone.cycles_per_inference
    assert found == TimeShares(useful=pytest.approx(useful), empty=0, draining=0, uneven=0,
                               waiting=pytest.approx(1 - useful))
