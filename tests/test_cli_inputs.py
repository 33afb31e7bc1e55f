"""Inputs of the commands: labels that are no classes of the network."""

import re

import numpy as np
import pytest
from builders import make_network
from models import make_mlp

from dovetail.cli.inputs import load_inputs
from dovetail.cli.main import main
from dovetail.hw.errors import ModelError


def save(folder, labels, length=5):
    x = np.random.default_rng(0).integers(0, 256, (len(labels), length)).astype(np.uint8)
    np.savez(folder / "x.npz", x=x, y=np.array(labels))
    return folder / "x.npz"


@pytest.mark.parametrize("labels, outputs", [([0, 3, 1], 4), ([0, 1], 1)])
def test_classes(tmp_path, labels, outputs):
    network = make_network(np.random.default_rng(1), sizes=[5, outputs])
    np.testing.assert_array_equal(load_inputs(save(tmp_path, labels), network).labels, labels)


@pytest.mark.parametrize("labels, outputs, message", [
    ([0, 10, 99], 10, "x.npz: 'y' must hold classes 0 to 9, not 10"),
    ([3, -1], 10, "x.npz: 'y' must hold classes 0 to 9, not -1"),
    ([2], 1, "x.npz: 'y' must hold classes 0 to 1, not 2"),
])
def test_labels_that_are_no_classes(tmp_path, labels, outputs, message):
    network = make_network(np.random.default_rng(1), sizes=[5, outputs])
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        load_inputs(save(tmp_path, labels), network)


def test_every_command_that_takes_labels(capsys, tmp_path):
    model = make_mlp(tmp_path / "small.onnx", sizes=(5, 6, 3), winners=2, seed=1)
    good = str(save(tmp_path, [0, 2]).rename(tmp_path / "good.npz"))
    making = ["compile", str(model), "--calibration", good, "-o", str(tmp_path / "build")]
    assert main(making) == 0
    wrong = str(save(tmp_path, [0, 99]))
    build = str(tmp_path / "build")
    for command in ([*making, "--test", wrong], ["simulate", build, "--inputs", wrong],
                    ["diff", build, "--inputs", wrong]):
        assert main(command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line == "dovetail: error: x.npz: 'y' must hold classes 0 to 2, not 99"
