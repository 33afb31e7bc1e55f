"""Where the multipliers' time goes: counted again, slot by slot, from the masks."""

import re

import numpy as np
import pytest
from models import make_mlp

from dovetail.boards.build_folder import read_build
from dovetail.cli.main import main
from dovetail.hw.arch import Mode
from dovetail.sim import golden
from dovetail.sim.cycles import layer_cycles
from dovetail.sim.time_shares import time_shares
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
    """Useful, empty, draining, and idle multiplier cycles of an inference, one slot after the other."""
    arch, layer, packing = planned.arch.engine, planned.layer, planned.packing
    useful = slots = 0
    for vector in result.inputs.tolist():
        for fold in range(arch.folds):
            for lane in range(arch.lanes):
                taken = 0
                for position in range(lane, layer.positions, arch.lanes):
                    if vector[position] == 0 and planned.arch.mode is Mode.SPARSE_SPARSE:
                        continue
                    banks = [sum(bool(planned.mask[kernel, position]) for kernel in bank if kernel >= 0)
                             for bank in packing.members[fold].tolist()]
                    taken += max(1, *banks)
                    useful += sum(int(layer.weights[kernel, position] != 0)
                                  for bank in packing.members[fold].tolist() for kernel in bank if kernel >= 0)
                slots += max(1, taken)
    frames = len(result.inputs)
    all_of_it = cycles * arch.lanes * arch.banks
    draining = arch.folds * arch.drain_slots * arch.lanes * arch.banks
    worked = slots * arch.banks / frames
    return [share / all_of_it for share in (useful / frames, worked - useful / frames, draining,
                                            all_of_it - worked - draining)]


def test_shares(capsys, compiled):
    folder, command = compiled
    assert main(command) == 0
    printed = capsys.readouterr().out
    plan = read_build(folder / "build").plan
    samples = load_samples(folder / "x.npz", (37,))
    results = golden.run(plan.network, input_codes(plan.network, samples.x))
    conflicts = 0
    for planned, result in zip(plan.layers, results, strict=True):
        alone = layer_cycles(planned, result)
        found = time_shares(planned, result, alone.cycles_per_inference)
        expected = by_hand(planned, result, alone.cycles_per_inference)
        shares = [found.useful, found.empty, found.draining, found.uneven + found.waiting]
        np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-12)
        assert found.useful == pytest.approx(alone.utilisation, abs=1e-12)
        assert min(*shares, found.uneven, found.waiting) >= 0
        assert (found.uneven == 0) == (planned.arch.engine.lanes == 1)
        line = re.search(rf"^{planned.layer.name}: multipliers .*$", printed, re.MULTILINE)
        assert (line is None) == planned.packing.complementary
        if line is not None:
            conflicts += 1
            numbers = [int(number) for number in re.findall(r"(\d+)%", line.group())]
            assert numbers == [round(100 * share) for share in (found.useful, found.empty, found.draining,
                                                                found.uneven, found.waiting)]
            fill, best = re.findall(r"\d\.\d\d", line.group())
            assert float(fill) == round(planned.packing.fill, 2) <= float(best) <= 1
    assert conflicts >= 1
