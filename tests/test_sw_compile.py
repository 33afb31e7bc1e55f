"""The compiler's own part: planning again where the planner's estimate was too hopeful."""

from dataclasses import replace

import numpy as np
import pytest
from models import make_mlp

from dovetail.sim.cycles import cycles_per_inference
from dovetail.sw.compile import compile_model
from dovetail.sw.settings import Settings


@pytest.fixture
def files(tmp_path):
    model = make_mlp(tmp_path / "m.onnx", sizes=(64, 32, 32, 10), winners=(6, 6), seed=1, densities=(0.2, 0.2, 1.0))
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(0).integers(0, 256, (30, 64)).astype(np.uint8))
    return model, tmp_path / "c.npz"


@pytest.mark.parametrize("target", [300, 150, 100, 80])
def test_target_is_kept_exactly(files, target):
    model, calibration = files
    compiled = compile_model(model, calibration=calibration, settings=Settings(target_cycles=target),
                             predict=cycles_per_inference)
    assert cycles_per_inference(compiled.plan, compiled.calibration) <= target
    assert compiled.plan.settings.target_cycles == target


def test_hopeful_plans_are_made_again(files):
    """A prediction above the target is met with tighter plans; the fastest is kept, and the wish stays in its settings.
    """
    model, calibration = files
    seen = []

    def predict(plan, codes):
        seen.append(plan.settings.target_cycles)
        return 2000.0 - len(seen)
    compiled = compile_model(model, calibration=calibration, settings=Settings(target_cycles=1000), predict=predict)
    assert seen[0] == 1000 and seen == sorted(seen, reverse=True) and len(set(seen)) == len(seen) > 2
    assert compiled.plan.settings == replace(Settings(), target_cycles=1000)
