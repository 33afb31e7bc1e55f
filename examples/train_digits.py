"""Train the sparse-sparse digits network that ships with Dovetail.

The data are the 8 x 8 handwritten digits of scikit-learn (``load_digits``, 1,797 images, codes 0..16, after the UCI
"Optical Recognition of Handwritten Digits" set). The network is a perceptron 64-256-256-10 with both kinds of sparsity:

* *weights*: in the hidden layers every eight kernels are complementary, that is, their masks partition the positions,
  and in the last layer every two. Masks are drawn at random before training and never change. Kernels are stored in
  random order, so the file does not say which belong together: the packer has to find the sets;
* *activations*: k-winners-take-all keeps the 26 largest of the 256 hidden activations.

Everything is plain numpy: a hidden layer is linear, batch normalisation, ReLU, k-WTA; the loss is cross entropy; the
optimiser is Adam (Kingma and Ba, 2015) with a cosine learning rate. Training takes some six seconds on one core.

Beside Dovetail it needs scikit-learn, for the images, and threadpoolctl:
``.venv/bin/pip install scikit-learn threadpoolctl``. Then ``.venv/bin/python examples/train_digits.py --output digits``
writes three files into the folder (``--output cli/digits``: the packaged ones anew):

=========================  ==================================================================================
``digits.onnx``            the trained network, opset 17, float32
``digits_test.npz``        ``x`` uint8 (360, 1, 8, 8), ``scale`` (real = x * scale), ``y`` uint8 (360,) labels
``digits_calibration.npz`` ``x`` uint8 (256, 1, 8, 8) of the training images, ``scale``
=========================  ==================================================================================

The same command gives the same bytes on the same machine: seeds are fixed, BLAS runs on one thread, and nothing
writes a date. Another processor or another BLAS may round a sum differently, and training amplifies that: there the
weights differ in value (never in mask), and the accuracy by some tenths of a point.
"""

import argparse
import io
import math
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from threadpoolctl import threadpool_limits
except ModuleNotFoundError:
    raise SystemExit("scikit-learn or threadpoolctl is missing: "
                     f"{sys.executable} -m pip install scikit-learn threadpoolctl") from None

__all__ = ["Digits", "Layer", "Network", "complementary_masks", "k_winners", "load", "main", "to_onnx", "train"]

PIXEL_SCALE = np.float32(1 / 16)
BATCH_NORM_EPSILON = 1e-5
TEST_SHARE = 0.2
CALIBRATION_IMAGES = 256


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The data set, split once and for all: codes 0..16 of shape (n, 64) and labels of shape (n,)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(kw_only=True)
class Layer:
    """A linear layer with a fixed mask and, where ``winners`` is given, batch normalisation, ReLU and k-WTA.

    Members
    -------
    mask : bool (kernels, positions)
    parameters : dict of float32 arrays
        What Adam changes: ``weight`` (kernels, positions), ``bias``, and for hidden layers ``gamma`` and ``beta``.
    winners : int or None
        K of the k-WTA; ``None`` for the last layer, which hands out its sums.
    mean, variance : float32 (kernels,)
        Running statistics of batch normalisation.
    """

    mask: np.ndarray
    parameters: dict[str, np.ndarray]
    winners: int | None
    mean: np.ndarray
    variance: np.ndarray
    saved: dict[str, np.ndarray] = field(default_factory=dict)   # what the backward pass needs of the forward pass


@dataclass(kw_only=True)
class Network:
    """Layers from input to output."""

    layers: list[Layer]


def load(*, seed: int) -> Digits:
    """Read the digits that scikit-learn carries and split them, stratified by label.

    Parameters
    ----------
    seed : int
        Seed of the split.
    """
    images, labels = load_digits(return_X_y=True)
    images, labels = np.asarray(images, dtype=np.uint8), np.asarray(labels, dtype=np.uint8)
    chosen, held_out = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=seed)
    return Digits(x_train=images[chosen], y_train=labels[chosen], x_test=images[held_out], y_test=labels[held_out])


def complementary_masks(kernels: int, positions: int, *, set_size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a mask whose kernels form complementary sets, set after set.

    Parameters
    ----------
    kernels, positions : int
        Shape of the mask; both must be multiples of ``set_size``.
    set_size : int
        N, the kernels of a set. The masks of a set partition the positions into N equal parts.
    rng : numpy.random.Generator
        Source of the partitions.

    Returns
    -------
    bool (kernels, positions)
        Density exactly 1 / ``set_size``.
    """
    if kernels % set_size or positions % set_size:
        raise ValueError(f"Kernels and positions must be multiples of the set size {set_size!r}, "
                         f"not {kernels!r} and {positions!r}")
    mask = np.zeros((kernels, positions), dtype=bool)
    for first in range(0, kernels, set_size):
        parts = rng.permutation(positions).reshape(set_size, -1)
        for kernel, part in enumerate(parts, start=first):
            mask[kernel, part] = True
    return mask


def build(*, sizes: tuple[int, ...], set_sizes: tuple[int, ...], winners: int, rng: np.random.Generator) -> Network:
    """Make an untrained network: kernels in random order, He initialisation over the weights that the masks leave."""
    layers = []
    for index, (positions, kernels, set_size) in enumerate(zip(sizes[:-1], sizes[1:], set_sizes, strict=True)):
        hidden = index < len(set_sizes) - 1
        mask = rng.permutation(complementary_masks(kernels, positions, set_size=set_size, rng=rng))
        weight = rng.standard_normal(mask.shape) * np.sqrt(2 * set_size / positions)
        parameters = {"weight": np.where(mask, weight, 0), "bias": np.zeros(kernels)}
        if hidden:
            parameters |= {"gamma": np.ones(kernels), "beta": np.zeros(kernels)}
        layers.append(Layer(
            mask=mask, parameters={name: value.astype(np.float32) for name, value in parameters.items()},
            winners=winners if hidden else None,
            mean=np.zeros(kernels, np.float32), variance=np.ones(kernels, np.float32)))
    return Network(layers=layers)


def k_winners(activations: np.ndarray, k: int) -> np.ndarray:
    """Say which activations are winners: the ``k`` largest of each row, and never a zero.

    Parameters
    ----------
    activations : float (n, length)
        Not negative, as after ReLU.
    k : int
        At most ``length``. Ties of positive values at the threshold would let more than ``k`` pass; among trained
        float32 sums they do not occur.

    Returns
    -------
    bool (n, length)
    """
    threshold = np.partition(activations, -k, axis=1)[:, -k, np.newaxis]
    return (activations >= threshold) & (activations > 0)


def forward(network: Network, x: np.ndarray, *, training: bool) -> np.ndarray:
    """Compute the ten outputs (n, 10) for real inputs (n, 64); training uses, and tracks, the batch's statistics."""
    for layer in network.layers:
        p = layer.parameters
        layer.saved["x"] = x
        x = x @ p["weight"].T + p["bias"]
        if layer.winners is None:
            continue
        if training:
            mean, variance = x.mean(axis=0), x.var(axis=0)
            layer.mean += np.float32(0.1) * (mean - layer.mean)
            layer.variance += np.float32(0.1) * (variance - layer.variance)
        else:
            mean, variance = layer.mean, layer.variance
        deviation = np.sqrt(variance + np.float32(BATCH_NORM_EPSILON))
        normal = (x - mean) / deviation
        x = np.maximum(normal * p["gamma"] + p["beta"], 0)
        winners = k_winners(x, layer.winners)
        layer.saved |= {"deviation": deviation, "normal": normal, "winners": winners}
        x = np.where(winners, x, np.float32(0))
    return x


def backward(network: Network, gradient: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Turn the gradient of the outputs (n, 10) into that of every parameter, per layer, after a training forward."""
    gradients: list[dict[str, np.ndarray]] = []
    for layer in reversed(network.layers):
        p, saved, found = layer.parameters, layer.saved, {}
        if layer.winners is not None:
            gradient = np.where(saved["winners"], gradient, np.float32(0))   # k-WTA and ReLU: only winners pass it on
            found |= {"gamma": (gradient * saved["normal"]).sum(axis=0), "beta": gradient.sum(axis=0)}
            gradient = gradient * p["gamma"]
            gradient = (gradient - gradient.mean(axis=0)
                        - saved["normal"] * (gradient * saved["normal"]).mean(axis=0)) / saved["deviation"]
        found |= {"weight": np.where(layer.mask, gradient.T @ saved["x"], 0), "bias": gradient.sum(axis=0)}
        gradients.insert(0, found)
        gradient = gradient @ p["weight"]
    return gradients


class Adam:
    """Adam with decoupled weight decay on the weights (Loshchilov and Hutter, 2019)."""

    def __init__(self, network: Network, *, decay: float, beta_1: float = 0.9, beta_2: float = 0.999):
        self.network, self.decay, self.beta_1, self.beta_2 = network, decay, beta_1, beta_2
        self.steps = 0
        self.moments = [{name: (np.zeros_like(value), np.zeros_like(value)) for name, value in layer.parameters.items()}
                        for layer in network.layers]

    def step(self, gradients: list[dict[str, np.ndarray]], *, rate: float) -> None:
        """Change every parameter in place."""
        self.steps += 1
        correction_1, correction_2 = 1 - self.beta_1 ** self.steps, 1 - self.beta_2 ** self.steps
        for layer, moments, found in zip(self.network.layers, self.moments, gradients, strict=True):
            for name, value in layer.parameters.items():
                first, second = moments[name]
                first += (1 - self.beta_1) * (found[name] - first)
                second += (1 - self.beta_2) * (found[name] ** 2 - second)
                value -= rate * (first / correction_1) / (np.sqrt(second / correction_2) + 1e-8)
                if name == "weight":
                    value *= 1 - rate * self.decay


def shifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move about half of the images (n, 64) by one pixel in one of the four directions; zeros come in at the edge."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moves = np.array([(1, 1), (1, 1), (1, 1), (1, 1), (0, 1), (2, 1), (1, 0), (1, 2)])[rng.integers(8, size=len(x))]
    rows = moves[:, 0, np.newaxis, np.newaxis] + np.arange(8)[:, np.newaxis]
    columns = moves[:, 1, np.newaxis, np.newaxis] + np.arange(8)
    return padded[np.arange(len(x))[:, np.newaxis, np.newaxis], rows, columns].reshape(-1, 64)


def batches(digits: Digits, rng: np.random.Generator, *, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield one epoch of real inputs and labels, in random order, without the incomplete batch at the end."""
    order = rng.permutation(len(digits.x_train))
    for first in range(0, len(order) - size + 1, size):
        chosen = order[first:first + size]
        yield shifted(digits.x_train[chosen] * PIXEL_SCALE, rng), digits.y_train[chosen]


def train(digits: Digits, *, epochs: int, seed: int, rate: float = 4e-3, batch: int = 64) -> Network:
    """Train the digits network.

    Parameters
    ----------
    digits : Digits
    epochs : int
        Passes over the training images; at least 1.
    seed : int
        Seed of masks, initial weights, order of images and their shifts.
    rate : float
        Highest learning rate; it falls to zero along a cosine.
    batch : int
        Images a step.
    """
    if epochs < 1:
        raise ValueError(f"Epochs must be at least 1, not {epochs!r}")
    rng = np.random.default_rng(seed)
    network = build(sizes=(64, 256, 256, 10), set_sizes=(8, 8, 2), winners=26, rng=rng)
    adam = Adam(network, decay=0.02)
    steps = epochs * (len(digits.x_train) // batch)
    for _ in range(epochs):
        for x, y in batches(digits, rng, size=batch):
            outputs = forward(network, x, training=True)
            exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
            gradient = (probabilities - np.eye(10, dtype=np.float32)[y]) / np.float32(len(y))
            adam.step(backward(network, gradient), rate=rate * (1 + math.cos(math.pi * adam.steps / steps)) / 2)
    return network


def accuracy(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    """Tell the share of images (n, 64; codes) that the network labels right, with the running statistics."""
    return float((forward(network, x * PIXEL_SCALE, training=False).argmax(axis=1) == y).mean())


def to_onnx(network: Network) -> onnx.ModelProto:
    """Write the network as an ONNX model: input (batch, 1, 8, 8), real values; output (batch, 10).

    k-WTA is TopK -> ScatterElements onto ``relu * 0``, the spelling every framework can export.
    """
    nodes, constants, value = [helper.make_node("Flatten", ["input"], ["flat"], name="flatten", axis=1)], [], "flat"

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(op: str, name: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        outputs = outputs or [name]
        nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    for index, layer in enumerate(network.layers, start=1):
        p = layer.parameters
        value = node("Gemm", f"fc{index}", [
            value, constant(f"weight{index}", np.where(layer.mask, p["weight"], np.float32(0))),
            constant(f"bias{index}", p["bias"])], transB=1)
        if layer.winners is not None:
            value = node("BatchNormalization", f"bn{index}", [
                value, constant(f"gamma{index}", p["gamma"]), constant(f"beta{index}", p["beta"]),
                constant(f"mean{index}", layer.mean), constant(f"variance{index}", layer.variance),
            ], epsilon=BATCH_NORM_EPSILON)
            value = node("Relu", f"relu{index}", [value])
            top = [f"values{index}", f"indices{index}"]
            node("TopK", f"topk{index}", [value, constant(f"k{index}", np.array([layer.winners]))], top, axis=1)
            zeros = node("Mul", f"zeros{index}", [value, constant(f"zero{index}", np.zeros(1, np.float32))])
            value = node("ScatterElements", f"kwta{index}", [zeros, top[1], top[0]], axis=1)
    graph = helper.make_graph(
        nodes, "digits", initializer=constants,
        inputs=[helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        outputs=[helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", 10])])
    model = helper.make_model(graph, producer_name="train_digits", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def save_arrays(path: Path, **arrays: np.ndarray | np.generic) -> None:
    """Write an .npz file as ``numpy.savez_compressed`` does, but with a fixed date, so that bytes repeat."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)


def main(argv: list[str] | None = None) -> int:
    """Train, print the accuracies and write the three files."""
    parser = argparse.ArgumentParser(description="train the digits network and write it as ONNX, with its test images")
    parser.add_argument("--output", type=Path, default=Path("cli/digits"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=150, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")
    args = parser.parse_args(argv)

    digits = load(seed=args.seed)
    with threadpool_limits(1):   # the order of a sum must not depend on the number of cores
        network = train(digits, epochs=args.epochs, seed=args.seed)
        for name, x, y in (("training", digits.x_train, digits.y_train), ("test", digits.x_test, digits.y_test)):
            print(f"{name}: {100 * accuracy(network, x, y):.2f} % of {len(y)} images")

    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "digits.onnx").write_bytes(to_onnx(network).SerializeToString(deterministic=True))
    test = digits.x_test.reshape(-1, 1, 8, 8)
    save_arrays(args.output / "digits_test.npz", x=test, scale=PIXEL_SCALE, y=digits.y_test)
    calibration = digits.x_train[:CALIBRATION_IMAGES].reshape(-1, 1, 8, 8)
    save_arrays(args.output / "digits_calibration.npz", x=calibration, scale=PIXEL_SCALE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
