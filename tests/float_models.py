"""Float models for tests, built from records, without a file."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from dovetail.sw.model import Clip, FloatLayer, FloatModel, MaxPool, Step, Winners
from dovetail.sw.window import Window

__all__ = ["float_layer", "float_model", "random_cnn", "random_mlp"]


def float_layer(
    weights: ArrayLike, bias: ArrayLike | None = None, *, name: str = "a", relu: bool = True,
    ceiling: float = math.inf, window: Window | None = None, pool: Window | None = None, winners: int | None = None,
) -> FloatLayer:
    """Layer with the steps that are asked for, in this order; the bias is zero by default."""
    weights = np.array(weights, float)
    steps: list[Step] = [Clip(name=f"{name}_relu", op="Relu", low=0.0, high=ceiling)] if relu else []
    if pool is not None:
        steps.append(MaxPool(name=f"{name}_pool", op="MaxPool", window=pool))
    if winners is not None:
        steps.append(Winners(name=f"{name}_kwta", op="TopK", winners=winners))
    return FloatLayer(
        name=name, op="Gemm" if window is None else "Conv", weights=weights,
        bias=np.zeros(len(weights)) if bias is None else np.array(bias, float), window=window, steps=tuple(steps))


def float_model(*layers: FloatLayer, input_shape: tuple[int, ...] | None = None, **changes) -> FloatModel:
    """Model ``m``; by default its input is flat."""
    return FloatModel(name="m", input_shape=input_shape or (layers[0].inputs,), layers=layers, sha256="0", **changes)


def _random(rng: np.random.Generator, kernels: int, positions: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    mask = rng.random((kernels, positions)) < density
    weights = rng.standard_normal(mask.shape) / np.sqrt(max(1, mask.sum(axis=1).mean()))
    return np.where(mask, weights, 0), rng.normal(0, 0.1, kernels)


def random_mlp(
    seed: int = 0, *, sizes: Sequence[int] = (20, 30, 25, 6), densities: Sequence[float] = (0.3, 0.2, 0.5),
    winners: Sequence[int | None] = (7, None),
) -> FloatModel:
    """Random perceptron: ReLU, and k-WTA where ``winners`` has a number, behind every layer but the last."""
    rng = np.random.default_rng(seed)
    last = len(sizes) - 2
    return float_model(*(
        float_layer(*_random(rng, sizes[i + 1], sizes[i], densities[i]), name=f"fc{i}", relu=i < last,
                    winners=winners[i] if i < last else None)
        for i in range(last + 1)))


def random_cnn(seed: int = 0, *, ceiling: float = math.inf) -> FloatModel:
    """Random network of two convolutions, the first with max-pooling and both with k-WTA, and a layer of scores."""
    rng = np.random.default_rng(seed)
    first = Window(channels=2, height=9, width=7, kernel=(3, 3), pads=(1, 1, 1, 1))
    pool = Window(channels=8, height=9, width=7, kernel=(3, 2), strides=(2, 2), pads=(1, 0, 1, 1))
    second = Window(channels=8, height=5, width=4, kernel=(3, 2), strides=(2, 1), pads=(0, 1, 1, 0))
    return float_model(
        float_layer(*_random(rng, 8, first.positions, 0.5), name="conv0", window=first, pool=pool, winners=5,
                    ceiling=ceiling),
        float_layer(*_random(rng, 6, second.positions, 0.4), name="conv1", window=second, winners=3, ceiling=ceiling),
        float_layer(*_random(rng, 4, 6 * math.prod(second.output_size), 1.0), name="fc", relu=False),
        input_shape=(2, 9, 7))
