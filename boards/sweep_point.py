"""One point of a sweep, measured: cycles by the exact model, cells by Yosys."""

import tempfile
import time
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from ..hw.arch import EngineArch
from ..hw.errors import DovetailError
from ..hw.network import LayerUnit, NetworkTop
from ..hw.verilog import emit_rtlil
from ..sim.cycles import cycles_per_inference, layer_cycles
from ..sw.compile import Precision, compile_model
from ..sw.settings import Settings
from .cells import cells_of, count_cells
from .devices import DEVICES
from .place import place
from .sweep import Point, software
from .sweep_layer import plan_layer, run_random
from .synth import Design, Language, synthesise

__all__ = ["COLUMNS", "Row", "measure"]

Row = dict[str, Any]

#: Inputs that a model is timed on.
SAMPLES = 8

#: What is measured, in the order of the table. ``cycles`` are per inference of a model, and per vector of a layer, a
#: window of a convolution. The throughput is how many of them pass in a thousand cycles.
_MEASURED = (
    "multipliers", "used_lanes", "used_banks", "used_folds", "drain_width", "cycles", "cycles_per_inference",
    "useful_multiplications", "utilisation", "lut", "lut_ram", "carry", "lut_equivalents", "ff", "bram", "dsp",
    "lut_windows", "lut_engine", "lut_stages", "lut_select", "fmax_mhz", "timing", "inferences_per_second",
    "lut_per_throughput", "dsp_per_throughput", "bram_per_throughput", "ff_per_throughput", "seconds",
)
#: Columns of a table of results, beside the Pareto front's.
COLUMNS = (*Point().parameters, *_MEASURED, *software(), "error")


def measure(point: Point, model: bytes | None = None, calibration: bytes | None = None) -> Row:
    """Measure one point. Reads nothing but its arguments and leaves nothing behind, so that it can run anywhere.

    Parameters
    ----------
    point : Point
    model, calibration : bytes, optional
        The files that the point names.

    Returns
    -------
    Row
        A value for every one of `COLUMNS`, None where there is none. ``error`` is None, or one line that says why there
        is no measurement.
    """
    start = time.perf_counter()
    row: Row = dict.fromkeys(COLUMNS)
    row.update(point.parameters)
    row.update(software())
    try:
        row.update(_layer(point) if point.model is None else _model(point, model, calibration))
    except DovetailError as error:
        row["error"] = " ".join(str(error).split())
    except Exception as error:      # a point that breaks something is a finding, and the others go on
        row["error"] = " ".join(f"internal error: {type(error).__name__}: {error}".split())
    row["seconds"] = round(time.perf_counter() - start, 1)
    return row


def _built(point: Point, component: wiring.Component, *, cycles: float, per_inference: float) -> Row:
    """Columns of what the tools say; the throughput is 1000 / cycles."""
    record = DEVICES[point.device]
    design = Design(text=emit_rtlil(component, name="top"), language=Language.RTLIL, top="top")
    synthesis = synthesise(design, record.family)
    cells, row, clock = cells_of(synthesis), Row(), point.clock_mhz
    for name in ("lut", "lut_ram", "carry", "lut_equivalents", "ff", "bram", "dsp"):
        row[name] = getattr(cells, name)
    for name, count in (("lut", cells.lut_equivalents), ("dsp", cells.dsp), ("bram", cells.bram), ("ff", cells.ff)):
        row[f"{name}_per_throughput"] = round(count * cycles / 1000, 3)
    if point.pnr:
        placement = place(synthesis, record, seeds=(point.seed + 1,))
        clock = round(placement.fmax_mhz, 2)
        row |= {"fmax_mhz": clock, "timing": placement.timing.value}
    row |= {"cycles": round(cycles, 3), "cycles_per_inference": per_inference,
            "inferences_per_second": round(clock * 1e6 / per_inference, 1)}
    return row


def _layer(point: Point) -> Row:
    planned, family = plan_layer(point), DEVICES[point.device].family
    times = layer_cycles(planned, run_random(point, planned))
    arch, vectors = planned.arch, planned.layer.vectors
    unit = LayerUnit(arch, planned.images)
    row = {
        "multipliers": arch.engine.multipliers, "used_lanes": arch.engine.lanes, "drain_width": arch.engine.drain_width,
        "useful_multiplications": round(times.useful_multiplications / vectors, 3),
        "utilisation": round(times.utilisation, 4)}
    if isinstance(arch.engine, EngineArch):
        row |= {"used_banks": arch.engine.banks, "used_folds": arch.engine.folds}
    row |= _built(point, unit, cycles=times.cycles_per_inference / vectors, per_inference=times.cycles_per_inference)
    if point.by_unit:
        parts: dict[str, list[wiring.Component | None]] = {
            "windows": [unit.entry], "engine": [unit.engine], "stages": [*unit.stages], "select": [unit.select]}
        for name, components in parts.items():
            row[f"lut_{name}"] = sum(count_cells(part, family).lut_equivalents for part in components
                                     if part is not None)
    return row


def _model(point: Point, model: bytes | None, calibration: bytes | None) -> Row:
    if model is None:
        raise DovetailError(f"the bytes of {point.model} are missing")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / Path(str(point.model)).name
        path.write_bytes(model)
        inputs = None
        if calibration is not None:
            inputs = Path(name) / "calibration.npz"
            inputs.write_bytes(calibration)
        compiled = compile_model(
            path, calibration=inputs, predict=cycles_per_inference,
            precision=Precision(weight_bits=point.weight_bits, activation_bits=point.activation_bits),
            settings=Settings(target_cycles=point.target_cycles, mode=point.mode, device=point.device))
    plan = compiled.plan
    cycles = cycles_per_inference(plan, compiled.calibration[:SAMPLES])
    return {"multipliers": sum(layer.arch.engine.multipliers for layer in plan.layers),
            **_built(point, NetworkTop(plan.arch, plan.images), cycles=cycles, per_inference=cycles)}
