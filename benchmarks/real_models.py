"""Files as people have them, held against what they say: QDQ from ONNX Runtime, public QONNX networks, random masks.

Run: python benchmarks/real_models.py [--models ../shared/models] [--data ../shared/data]
Without those folders only the digits perceptron is measured. The exit code is 1 where a bound is missed.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from dovetail.sim import Engine, golden
from dovetail.sim.cycles import cycles_per_inference
from dovetail.sim.time_shares import time_shares
from dovetail.sim.verify import NetworkSimulation, Verification
from dovetail.sw.compile import Compiled, Precision, compile_model, integer_network
from dovetail.sw.data import Samples, load_samples
from dovetail.sw.exact import describe
from dovetail.sw.model import FloatModel
from dovetail.sw.network import Network
from dovetail.sw.quantise import input_codes
from dovetail.sw.reader import read_model

SAME_CODES, AGREEMENT = 0.999, 0.995        # of a QDQ file's codes, and of its top-1 answers
PUBLISHED = 0.9479                          # accuracy of TFC_1W2A on MNIST
LOST, UTILISATION = 0.01, 0.5               # of an unstructured network: accuracy at most, large layers at least
# Type of the activations, and whether every kernel has a scale of its own.
FORMATS = ((QuantType.QInt8, False), (QuantType.QInt8, True), (QuantType.QUInt8, False), (QuantType.QUInt8, True))


class Bounds:
    """Bounds that were looked at, and those that were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def hold(self, holds: bool, what: str) -> None:
        """Note a bound that does not hold."""
        if not holds:
            self.missed.append(what)


# A perceptron of our own, for QDQ files

def digits_perceptron() -> tuple[ModelProto, np.ndarray, Samples]:
    """Train 64-64-32-10 with ReLU on scikit-learn's digits; the model, calibration inputs, and 360 test images."""
    images, labels = load_digits(return_X_y=True)
    x, test, y, test_labels = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=1)
    with threadpool_limits(1):      # the order of a sum must not depend on the number of cores
        trained = MLPClassifier((64, 32), random_state=0, max_iter=300).fit(x / 16, y)
    nodes, constants, value = [], [], "input"
    for number, (weight, bias) in enumerate(zip(trained.coefs_, trained.intercepts_, strict=True)):
        constants += [numpy_helper.from_array(array.astype(np.float32), name)
                      for name, array in ((f"w{number}", weight.T), (f"b{number}", bias))]
        nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [f"fc{number}"], name=f"fc{number}",
                                      transB=1))
        value = f"fc{number}"
        if number < len(trained.coefs_) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"relu{number}"], name=f"relu{number}"))
            value = f"relu{number}"
    graph = helper.make_graph(
        nodes, "digits_relu", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", 10])], constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    samples = Samples(x=test.astype(np.uint8), scale=1 / 16, labels=test_labels)
    return model, (x[:256] / 16).astype(np.float32), samples


# QDQ files

class OneBatch(CalibrationDataReader):
    """Calibration inputs in one batch."""

    def __init__(self, name: str, x: np.ndarray):
        self._batches: Iterator[dict[str, np.ndarray]] = iter([{name: x}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


@contextmanager
def _no_advice() -> Iterator[None]:
    """Hide what ONNX Runtime's quantiser logs: that the model could be optimised first."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def quantised(model: ModelProto, x: np.ndarray, activation: QuantType, per_channel: bool) -> ModelProto:
    """Make a QDQ file with ``quantize_static``, min-max ranges from the inputs ``x``."""
    with tempfile.TemporaryDirectory() as folder, _no_advice():
        source, target = Path(folder) / "float.onnx", Path(folder) / "qdq.onnx"
        onnx.save(model, source)
        quantize_static(source, target, OneBatch(model.graph.input[0].name, x), quant_format=QuantFormat.QDQ,
                        activation_type=activation, weight_type=QuantType.QInt8, per_channel=per_channel)
        return onnx.load(target)


def power_of_two(model: ModelProto) -> ModelProto:
    """Move every scale of a QDQ file to the next power of two, and quantise its weights and biases again."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    quantisers = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    biases = [node for node in quantisers if constants.get(node.input[0], np.zeros(0)).dtype == np.int32]
    changed = {node.input[1]: np.exp2(np.ceil(np.log2(constants[node.input[1]])), dtype=np.float32)
               for node in quantisers if node not in biases}
    for node in biases:             # a bias has the scale of the sum that it is added to: input times weight
        user = next(user for user in model.graph.node if node.output[0] in user.input)
        of_input, of_weight = (changed[made_by[name].input[1]] for name in user.input[:2])
        changed[node.input[1]] = of_input * of_weight
    for node in quantisers:
        codes = constants.get(node.input[0])
        if codes is not None:
            axis = next((helper.get_attribute_value(each) for each in node.attribute if each.name == "axis"), 1)
            before, after = (scale.reshape([-1 if scale.size > 1 and each == axis % codes.ndim else 1
                                            for each in range(codes.ndim)])
                             for scale in (constants[node.input[1]], changed[node.input[1]]))
            limits = np.iinfo(codes.dtype)
            again = np.rint(codes * before.astype(np.float64) / after).clip(limits.min, limits.max)
            changed[node.input[0]] = again.astype(codes.dtype)
    result = ModelProto.FromString(model.SerializeToString())
    for tensor in result.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name].reshape(tuple(tensor.dims)), tensor.name))
    return result


def runtime_codes(model: ModelProto, names: Sequence[str], x: np.ndarray, *, optimised: bool) -> list[np.ndarray]:
    """What ONNX Runtime computes for outputs of QuantizeLinear, less the zero points: int64 (n, elements) each."""
    watched = ModelProto.FromString(model.SerializeToString())
    zeros = {node.output[0]: tensor for node in model.graph.node for tensor in model.graph.initializer
             if node.op_type == "QuantizeLinear" and tensor.name == node.input[2]}
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, zeros[name].data_type, None)
                                for name in dict.fromkeys(names))
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = dict(zip(dict.fromkeys(names), session.run(None, {model.graph.input[0].name: x}), strict=True))
    return [found[name].reshape(len(x), -1).astype(np.int64) - int(numpy_helper.to_array(zeros[name]))
            for name in names]


@dataclass(frozen=True, kw_only=True)
class CodesCompared:
    """Codes of a layer, before k-WTA, against ONNX Runtime's: how many differ, and by how much at most.

    ``alone``: given the input codes that ONNX Runtime had; ``apart``: end to end; ``inputs``: of the layer's inputs
    (what k-WTA handed on), end to end.
    """

    name: str
    requantisation: str
    codes: int
    inputs: int
    alone: int
    apart: int
    most: int


def compare_codes(
    model: ModelProto, network: Network, read: FloatModel, samples: Samples, *, optimised: bool,
) -> tuple[list[CodesCompared], np.ndarray, np.ndarray]:
    """Compare every layer of a QDQ file with ONNX Runtime; also the last layer's codes, ours and its."""
    by_name: dict[str, NodeProto] = {node.name: node for node in model.graph.node}
    made_by = {output: node for node in model.graph.node for output in node.output}
    names = [name for layer in read.layers
             for name in (made_by[by_name[layer.name].input[0]].input[0],
                          by_name[layer.quantisers[-1].name].output[0])]
    x = (samples.x * samples.scale).astype(np.float32)
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
    theirs = runtime_codes(model, names, x.reshape(len(x), *shape), optimised=optimised)
    compared, codes, expected = [], np.zeros(0), np.zeros(0)
    kept = np.arange(network.layers[0].inputs)      # elements of the layer before that are left
    ours = golden.run(network, input_codes(network, samples.x, samples.scale))
    for layer, result, inputs, outputs in zip(network.layers, ours, theirs[::2], theirs[1::2], strict=True):
        alone = golden.run_layer(layer, inputs[:, kept])
        kernels = np.arange(layer.kernels) if layer.origin is None else layer.origin
        codes, expected = layer.requantise(result.sums[:, 0]), outputs[:, kernels]
        apart = abs(codes - expected)
        compared.append(CodesCompared(
            name=layer.name, requantisation=describe(layer), codes=codes.size, most=int(apart.max()),
            inputs=int((result.inputs != inputs[:, kept]).sum()), apart=int((apart != 0).sum()),
            alone=int((layer.requantise(alone.sums[:, 0]) != expected).sum())))
        kept = kernels
    return compared, codes, expected


def qdq_tables(
    title: str, model: ModelProto, calibration: np.ndarray, samples: Samples, bounds: Bounds,
    formats: Sequence[tuple[QuantType, bool]] = FORMATS,
) -> list[Table]:
    """Measure QDQ files of a float model; everything in two tables."""
    files = _table(f"{title}: QDQ files against ONNX Runtime, {len(samples.x):,} inputs",
                   "activations, weights, scales", "runtime", "codes that differ", "most apart", "bound",
                   "top-1 agreement", "bound", "accuracy", "runtime's", left=2)
    layers = _table(f"{title}: codes that differ, layer by layer, both runtimes", "activations, weights, scales",
                    "layer", "requantisation", "codes", "inputs", "alone", "end to end", left=3)
    for activation, per_channel in formats:
        made = quantised(model, calibration, activation, per_channel)
        for scales, file in (("as made", made), ("power of two", power_of_two(made))):
            kind = f"{activation.name[1:].lower()}, per {'channel' if per_channel else 'tensor'}, {scales}"
            read, network = _read(file)
            total: list[CodesCompared] = []
            for optimised in (False, True):
                compared, codes, expected = compare_codes(file, network, read, samples, optimised=optimised)
                total += compared
                apart, most = sum(layer.apart for layer in compared), max(layer.most for layer in compared)
                count = sum(layer.codes for layer in compared)
                share = 0.0 if scales == "power of two" else 1 - SAME_CODES
                agreement = float((codes.argmax(axis=1) == expected.argmax(axis=1)).mean())
                bounds.hold(all(layer.apart <= share * layer.codes for layer in compared) and most <= 1,
                            f"{title}, {kind}: {apart} of {count} codes differ, by up to {most}")
                bounds.hold(agreement >= AGREEMENT, f"{title}, {kind}: top-1 agreement is {agreement:.2%}")
                files.add_row(kind, "optimised" if optimised else "as in the file", f"{apart} of {count:,}", str(most),
                              f"{share:.1%}, 1" if share else "0", f"{agreement:.2%}", f"{AGREEMENT:.1%}",
                              *("" if samples.labels is None else
                                f"{(scores.argmax(axis=1) == samples.labels).mean():.2%}"
                                for scores in (codes, expected)))
            for plain, fused in zip(total[:len(network.layers)], total[len(network.layers):], strict=True):
                layers.add_row(kind, plain.name, plain.requantisation, f"{plain.codes:,}",
                               *(f"{getattr(plain, name)}, {getattr(fused, name)}"
                                 for name in ("inputs", "alone", "apart")))
    return [files, layers]


def digits(bounds: Bounds, *, count: int = 20_000) -> list[Table]:
    """QDQ files of the digits perceptron: its test images, and random ones, which meet more ties."""
    model, calibration, samples = digits_perceptron()
    noise = Samples(x=np.random.default_rng(0).integers(0, 256, (count, 64)).astype(np.uint8), scale=1 / 255,
                    labels=None)
    return [*qdq_tables("digits", model, calibration, samples, bounds),
            *qdq_tables("digits, random images", model, calibration, noise, bounds)]


def kws(
    models: Path, bounds: Bounds, *, formats: Sequence[tuple[QuantType, bool]] = FORMATS,
) -> list[Table]:
    """QDQ files of the spoken-digits network, with batch normalisation and k-WTA."""
    model = onnx.load(models / "kws_mlp.onnx")
    calibration, samples = (load_samples(models / f"kws_mlp_{part}.npz", (1, 32, 32))
                            for part in ("calibration", "test"))
    x = (calibration.x * calibration.scale).astype(np.float32).reshape(-1, 1, 32, 32)
    return qdq_tables("kws_mlp", model, x, samples, bounds, formats)


def _read(model: ModelProto) -> tuple[FloatModel, Network]:
    """What is read of a QDQ file, and its integer network, cleaned up."""
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "model.onnx")
        read = read_model(Path(folder) / "model.onnx")
    return read, integer_network(read, None)[0]


# QONNX files

class Quant(OpRun):
    """QONNX's Quant with ROUND: ``scale * (clamp(round(x / scale + zero)) - zero)``."""

    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale, zero, bits, narrow=0, rounding_mode="ROUND", signed=1):
        if rounding_mode != "ROUND":
            raise ValueError(f"rounding_mode must be 'ROUND', not {rounding_mode!r}")
        low = -(2 ** (bits - 1)) + narrow if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        return (scale * (np.clip(np.rint(x / scale + zero), low, high) - zero),)


class BipolarQuant(OpRun):
    """QONNX's BipolarQuant: plus or minus the scale."""

    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale):
        return (np.where(x >= 0, scale, -scale),)


class BatchNormalization(OpRun):
    """As inference has it: the evaluator's own, of opset 9, normalises by the batch at hand."""

    def _run(self, x, gamma, beta, mean, variance, epsilon=1e-5, **training):
        return ((x - mean) / np.sqrt(variance + epsilon) * gamma + beta,)


def evaluate_qonnx(path: Path, x: np.ndarray) -> np.ndarray:
    """Evaluate a QONNX file node by node in float64, by onnx's reference evaluator; without a Softmax at the end."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float64), tensor.name))
    for node in model.graph.node:
        node.domain = Quant.op_domain if node.domain else ""
    if model.graph.node[-1].op_type == "Softmax":
        model.graph.output[0].name = model.graph.node.pop().input[0]
    names = {tensor.name for tensor in model.graph.initializer}
    (value,) = (value for value in model.graph.input if value.name not in names)
    model.opset_import.append(helper.make_opsetid(Quant.op_domain, 1))
    evaluator = ReferenceEvaluator(model, new_ops=[Quant, BipolarQuant, BatchNormalization])
    (scores,) = evaluator.run(None, {value.name: x.astype(np.float64)})
    return scores.reshape(len(x), -1)


def compile_samples(path: Path, samples: Samples, *, bits: int = 8, lossy: int | None = None) -> Compiled:
    """Compile a file for given inputs, the first 256 of them as calibration."""
    with tempfile.TemporaryDirectory() as folder:
        calibration = Path(folder) / "calibration.npz"
        x = samples.x[:256].reshape(-1, *read_model(path).input_shape)
        np.savez(calibration, allow_pickle=False, x=x, scale=samples.scale)
        return compile_model(path, calibration=calibration, precision=Precision(activation_bits=bits), lossy=lossy,
                             predict=cycles_per_inference)


def scores_of(network: Network, samples: Samples) -> np.ndarray:
    """Real scores of the integer network."""
    outputs = golden.run(network, input_codes(network, samples.x, samples.scale))[-1].outputs
    return network.layers[-1].real(outputs)


def simulate(
    title: str, compiled: Compiled, samples: Samples, count: int, engine: Engine, table: Table, bounds: Bounds,
) -> Verification:
    """Run the RTL on the first ``count`` inputs; a row of the table."""
    codes = input_codes(compiled.network, samples.x[:count], samples.scale)
    shown = NetworkSimulation(compiled.plan, engine=engine).verify(codes)
    bounds.hold(shown.passed, f"{title}, {engine.value}: {shown.mismatches} outputs differ, {shown.measured} cycles "
                              f"measured and {shown.predicted.total} predicted")
    table.add_row(title, engine.value, str(count), str(shown.mismatches), f"{shown.predicted.total:,}",
                  f"{shown.measured:,}", f"{shown.measured_per_inference:,.1f}")
    return shown


def tfc(path: Path, data: Path, rtl: Table, bounds: Bounds, *, frames: int = 200) -> Table:
    """The MNIST network: every test image, against the file evaluated node by node."""
    with np.load(data) as arrays:
        x, labels = arrays["x"], arrays["y"]
    samples = load_samples(data, x.shape[1:])
    compiled = compile_samples(path, samples)
    found = scores_of(compiled.network, samples)
    read = compiled.model.run(samples.x * samples.scale)[-1]
    stated = evaluate_qonnx(path, (x * np.float64(samples.scale)).reshape(len(x), *read_model(path).input_shape))
    best = golden.run(compiled.network, input_codes(compiled.network, samples.x, samples.scale))[-1].outputs
    best = best == best.max(axis=1, keepdims=True)
    right, alone = best[np.arange(len(x)), labels], best.sum(axis=1) == 1
    table = _table("TFC_1W2A: all 10,000 test images of MNIST", "", "", left=1)
    for name, scores in (("the file, as it was read", read), ("the file, node by node", stated)):
        differ = int((found.argmax(axis=1) != scores.argmax(axis=1)).sum())
        furthest = float(abs(found - scores).max())
        bounds.hold(differ == 0, f"TFC_1W2A: {differ} answers are not those of {name}")
        bounds.hold(furthest < 1e-9, f"TFC_1W2A: scores are up to {furthest:.1e} from {name}")
        table.add_row(f"answers that differ from {name}", str(differ))
        table.add_row(f"scores: furthest from {name}", f"{furthest:.0e}")
    accuracy = float((found.argmax(axis=1) == labels).mean())
    low, high = float((right & alone).mean()), float(right.mean())
    bounds.hold(low <= PUBLISHED <= high, f"TFC_1W2A: {PUBLISHED:.2%} is not within {low:.2%} to {high:.2%}")
    table.add_row("accuracy, a tie going to the lower index", f"{accuracy:.2%}")
    table.add_row("images whose best scores are equal", str(int((~alone).sum())))
    table.add_row("accuracy, whichever of them is taken", f"{low:.2%} to {high:.2%}")
    table.add_row("accuracy, published", f"{PUBLISHED:.2%}")
    table.add_row("layers", "; ".join(describe(layer) for layer in compiled.network.layers))
    simulate("TFC_1W2A", compiled, samples, frames, Engine.CXXRTL, rtl, bounds)
    return table


def jettagging(
    path: Path, rtl: Table, bounds: Bounds, *, widths: Sequence[int] = (8, 16), count: int = 2000, frames: int = 100,
) -> Table:
    """The jet tagger, whose input is not quantised: random inputs on two grids, where its sums are exact."""
    table = _table(f"qkeras_jettagging: {count:,} random inputs", "input", "scores", "not equal to the file as read",
                   "not equal node by node", "layers", left=1)
    for bits in widths:
        codes = np.random.default_rng(bits).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (count, 16)).astype(np.int16)
        samples = Samples(x=codes, scale=2.0 ** (3 - bits), labels=None)      # -4 to 4
        compiled = compile_samples(path, samples, bits=bits)
        found = scores_of(compiled.network, samples)
        others = compiled.model.run(codes * samples.scale)[-1], evaluate_qonnx(path, codes * samples.scale)
        differ = [int((found != scores).sum()) for scores in others]
        bounds.hold(not any(differ), f"qkeras_jettagging, {bits} bits: scores differ")
        table.add_row(f"{bits} bits", f"{found.size:,}", *map(str, differ),
                      "; ".join(describe(layer) for layer in compiled.network.layers))
        simulate(f"qkeras_jettagging, {bits}-bit input", compiled, samples, frames, Engine.CXXRTL, rtl, bounds)
    return table


# Random masks

def unstructured(
    models: Path, rtl: Table, bounds: Bounds, *, frames: int = 100, few: int = 5, lossy: Sequence[int] = (4, 8, 16),
) -> list[Table]:
    """A network with masks that nobody made for hardware: lossless, then lossy."""
    name = "fashion_mlp_unstructured"
    path = models / f"{name}.onnx"
    shape = read_model(path).input_shape
    calibration, samples = (load_samples(models / f"{name}_{part}.npz", shape) for part in ("calibration", "test"))
    compiled = compile_samples(path, calibration)

    def accuracy(scores: np.ndarray) -> float:
        return float((scores.argmax(axis=1) == samples.labels).mean())

    real = accuracy(compiled.model.run(samples.x * samples.scale)[-1])
    same = all(np.array_equal(layer.mask, before.mask)
               for layer, before in zip(compiled.network.layers, compiled.model.layers, strict=True))
    bounds.hold(same, f"{name}: weights are missing")
    shown = simulate(name, compiled, samples, frames, Engine.CXXRTL, rtl, bounds)
    if few:
        simulate(name, compiled, samples, few, Engine.VERILATOR, rtl, bounds)
    layers = _table(f"{name}, lossless: where the multipliers' time goes, {frames} test inputs", "layer",
                    "lanes x banks", "N", "fill", "at best", "cycles", "utilisation", "empty places", "draining",
                    "uneven lanes", "waiting")
    results = golden.run(compiled.network, input_codes(compiled.network, samples.x[:frames], samples.scale))
    for planned, layer, result in zip(compiled.plan.layers, shown.layers, results, strict=True):
        arch, packing = planned.arch.engine, planned.packing
        time = time_shares(planned, result, layer)
        bounds.hold(packing.complementary or layer.utilisation >= UTILISATION,
                    f"{name}: utilisation of {layer.name} is {layer.utilisation:.1%}")
        layers.add_row(layer.name, f"{arch.lanes} x {arch.banks}", str(arch.set_size), f"{packing.fill:.2f}",
                       f"{packing.nonzero / (packing.rows_lower_bound * packing.banks):.2f}",
                       f"{layer.cycles_per_inference:,.1f}",
                       *(f"{share:.1%}" for share in (time.useful, time.empty, time.draining, time.uneven,
                                                      time.waiting)))
    packed = _table(f"{name}: lossless and lossy, {len(samples.x):,} test inputs", "packing", "weights dropped",
                    "rows", "cycles per inference", "multipliers", "int8", "float")
    for size in (None, *lossy):
        chosen = compiled if size is None else compile_samples(path, calibration, lossy=size)
        before, after = (sum(int((layer.weights != 0).sum()) for layer in network.layers)
                         for network in (chosen.lossless, chosen.network))
        integer = accuracy(scores_of(chosen.network, samples))
        bounds.hold(size is not None or real - integer <= LOST, f"{name}: {integer:.2%} in int8, {real:.2%} in float")
        plan = chosen.plan
        packed.add_row("lossless" if size is None else f"lossy, N = {size}", f"{before - after:,} of {before:,}",
                       ", ".join(f"{int(planned.packing.rows.sum()):,}" for planned in plan.layers),
                       f"{cycles_per_inference(plan, chosen.calibration):,.0f}",
                       str(sum(planned.arch.engine.multipliers for planned in plan.layers)), f"{integer:.2%}",
                       f"{real:.2%}")
    return [layers, packed]


def _table(title: str, *columns: str, left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", show_header=any(columns))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right")
    return table


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(__file__).parents[2] / "shared"
    parser.add_argument("--models", type=Path, default=shared / "models", help="default: ../shared/models")
    parser.add_argument("--data", type=Path, default=shared / "data", help="default: ../shared/data")
    args = parser.parse_args(argv)
    bounds, console = Bounds(), Console(width=150)
    rtl = _table("RTL against the golden model and the cycle model, default plans", "network", "engine", "inputs",
                 "outputs that differ", "cycles predicted", "measured", "per inference", left=2)
    steps: list[Callable[[], list[Table]]] = [lambda: digits(bounds)]
    if args.models.is_dir():
        steps += [lambda: kws(args.models, bounds),
                  lambda: [jettagging(args.models / "qkeras_jettagging.onnx", rtl, bounds)],
                  lambda: unstructured(args.models, rtl, bounds)]
    if args.models.is_dir() and args.data.is_dir():
        steps.append(lambda: [tfc(args.models / "TFC_1W2A.onnx", args.data / "mnist_test.npz", rtl, bounds)])
    for step in steps:
        for table in step():
            console.print(table)
    if rtl.row_count:
        console.print(rtl)
    for line in bounds.missed:
        print(f"missed: {line}")
    print(f"{len(bounds.missed)} bounds missed")
    return 1 if bounds.missed else 0


if __name__ == "__main__":
    sys.exit(main())
