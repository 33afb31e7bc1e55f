"""Inputs that a user gives for a network, with labels that it can give back."""

import math
from pathlib import Path

from ..hw.errors import ModelError
from ..sw.data import Samples, load_samples
from ..sw.network import Network

__all__ = ["load_inputs"]


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
