"""Inputs that a user gives for a network, with labels that it can give back."""

import math
import sys
from pathlib import Path

import numpy as np

from ..boards.build_folder import Build
from ..hw.errors import ModelError
from ..sw.data import Samples, load_samples
from ..sw.network import Network

__all__ = ["accuracies", "load_inputs", "warn_of_scale"]


def load_inputs(path: Path, network: Network) -> Samples:
    """Read samples for a network.

    Parameters
    ----------
    path : Path
        As `dovetail.sw.data.load_samples` reads it.
    network : Network
        Its outputs are the classes; a single output has two, by its sign.

    Returns
    -------
    Samples

    Raises
    ------
    ModelError
        If the file cannot be read or does not fit, or a label is no class. One line that begins with the file's name.
    """
    samples = load_samples(path, network.input_shape)
    classes = max(2, math.prod(network.layers[-1].output_shape))
    if samples.labels is not None:
        wrong = samples.labels[(samples.labels < 0) | (samples.labels >= classes)]
        if wrong.size:
            raise ModelError(f"{path.name}: 'y' must hold classes 0 to {classes - 1}, not {wrong[0]}")
    return samples


def warn_of_scale(network: Network, samples: Samples) -> None:
    """Say on stderr where inputs lie far outside what the network was calibrated for: their scale is likely missing."""
    low, high = network.layers[0].input_range
    codes = (samples.x * samples.scale - network.input_origin) / network.input_scale
    outside = float(((codes < low - 0.5) | (codes > high + 0.5)).mean())
    if outside > 0.01:
        print(f"dovetail: {outside:.0%} of the inputs are beyond the codes' range and were clamped: "
              "is their scale right?", file=sys.stderr)


def accuracies(build: Build, samples: Samples, outputs: np.ndarray) -> tuple[float | None, float | None]:
    """Shares of labels that results (n, M) of the first n inputs, and the float model's, name; None without labels."""
    if samples.labels is None:
        return None, None
    labels = samples.labels[:len(outputs)]
    scores = build.plan.layers[-1].layer.real(outputs)
    real = build.model.run(samples.x[:len(outputs)] * samples.scale)[-1]
    return float((scores.argmax(axis=1) == labels).mean()), float((real.argmax(axis=1) == labels).mean())
