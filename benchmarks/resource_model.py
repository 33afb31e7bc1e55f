"""The planner's resource model against synthesis. Run: python benchmarks/resource_model.py [--help]

Without options the stored measurements (`resource_cells.json`) are fitted and the errors printed. Units are drawn at
random, always the same ones, from what the planner makes; every third of a kind is held back from the fit, and whole
layers and networks, planned from models, are all held back. All numbers are measured by synthesis, nothing is placed.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
from amaranth.lib import wiring
from resource_units import FramesCase, JoinCase, Measurements, StageCase, Unit, UnrolledCase, build, units
from rich.console import Console
from rich.table import Table
from scipy.optimize import nnls

from dovetail.boards.cells import Cells, Family, count_cells
from dovetail.hw.arch import EngineArch, PoolArch, SelectArch, UnrolledImages, WindowArch
from dovetail.hw.network import LayerUnit, NetworkTop
from dovetail.sw.cell_rules import Fabric
from dovetail.sw.compile import compile_model
from dovetail.sw.resource_table import FF, LUT
from dovetail.sw.resources import (
    LUT_RAM_COST,
    Resources,
    Tally,
    layer_resources,
    network_resources,
    tally_engine,
    tally_frames,
    tally_join,
    tally_pool,
    tally_select,
    tally_stage,
    tally_unrolled,
    tally_window,
)
from dovetail.sw.settings import Device, Settings

STORED = Path(__file__).with_name("resource_cells.json")


def tally(unit: Unit, family: Family) -> Tally:
    """Features and exact cells of a unit."""
    t = Tally(fabric=Fabric.ECP5 if family is Family.ECP5 else Fabric.ICE40,
              has_multipliers=family is not Family.ICE40)
    match unit:
        case EngineArch():
            tally_engine(t, unit)
        case StageCase():
            tally_stage(t, unit.arch, width=unit.width, value_bits=unit.value_bits, beats=unit.beats)
        case SelectArch():
            tally_select(t, unit)
        case PoolArch():
            tally_pool(t, unit)
        case WindowArch():
            tally_window(t, unit)
        case JoinCase():
            tally_join(t, vectors=unit.vectors, elements=unit.elements, lanes=unit.lanes)
        case UnrolledCase():
            tally_unrolled(t, unit.arch, unit.graph)
        case FramesCase():
            tally_frames(t, unit.kind, length=unit.length, pixels=unit.pixels, width=unit.width, lanes=unit.lanes,
                         value_bits=unit.value_bits, skip_zeros=unit.skip_zeros)
    return t


@dataclass(frozen=True, kw_only=True)
class Point:
    """A measured unit and its tally."""

    kind: str
    family: Family
    unit: Unit
    held: bool
    tally: Tally
    cells: Cells


def points(measurements: Measurements) -> list[Point]:
    """Every drawn unit that was measured."""
    found = []
    for kind, family, drawn in units():
        for number, unit in enumerate(drawn):
            cells = measurements.get(unit, family)
            if cells is not None:
                found.append(Point(kind=kind, family=family, unit=unit, held=number % 3 == 2,
                                   tally=tally(unit, family), cells=cells))
    return found


#: Cells whose miss counts as much as the same part of them: below, a few cells more or less are no error.
SMALL = 30

#: What a coefficient is expected to be, by hand, where it is not one: look-up tables that come with every unit of a
#: kind, mostly. The fit stays near that where measurements say little.
EXPECTED = {
    "drain": 60, "drain count": 2, "lane": 25, "stage": 2, "store": 12, "store count": 1.5, "gearbox wide": 2,
    "nonzero": 0.4, "winners": 25, "winners ties": 2, "radix codes": 3, "radix": 3, "radix bits": 0.7,
    "histogram": 40, "histogram memory": 5, "histogram word": 3, "histogram row": 2, "window": 60, "window pixel": 8,
    "window image": 5, "window lane": 4, "pool": 20, "pool walk": 6, "pool line": 10, "pool compare": 2,
    "unrolled adders": 2, "frames": 2, "frames codes": 2, "frames values": 0.3, "scale above": 0.35,
    "thresholds reached": 1.5, "join": 2, "serialise count": 3, "load": 6, "product": 3,
}
#: Weight of that expectation: how much of a unit a feature makes up, at most, against a unit's relative error.
TRUST = 0.3


def fit(found: list[Point]) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Coefficients of look-up tables and flip-flops, by fabric: least squares of relative errors, none negative.

    Of the second fabric the first one's coefficients are expected.
    """
    lut: dict[str, dict[str, float]] = {}
    ff: dict[str, dict[str, float]] = {}
    expected_lut = dict.fromkeys((key for point in found for key in point.tally.lut), 1.0) | EXPECTED
    expected_ff = dict.fromkeys((key for point in found for key in point.tally.ff), 1.0)
    for fabric in Fabric:
        chosen = [point for point in found if point.tally.fabric is fabric and not point.held]
        whole = np.array([point.cells.lut_equivalents for point in chosen], float)
        wanted = whole - LUT_RAM_COST * np.array([point.tally.lut_ram for point in chosen], float)
        lut[fabric.value] = expected_lut = _fit([point.tally.lut for point in chosen], wanted, whole, expected_lut)
        whole = np.array([point.cells.ff for point in chosen], float)
        ff[fabric.value] = expected_ff = _fit([point.tally.ff for point in chosen], whole, whole, expected_ff)
    return lut, ff


def _fit(tallies: list[defaultdict[str, float]], wanted: np.ndarray, whole: np.ndarray,
         expected: dict[str, float]) -> dict[str, float]:
    """Coefficients of all features in ``expected``; those that nothing measured has are as expected."""
    features = sorted(expected)
    weight = 1 / np.maximum(whole, SMALL)
    amounts = np.array([[tally[key] for key in features] for tally in tallies], float) * weight[:, None]
    most = amounts.max(axis=0)
    scale = np.where(most > 0, most, 1.0)
    hoped = np.array([expected[key] for key in features]) * scale
    solution, _ = nnls(np.vstack((amounts / scale, TRUST * np.eye(len(features)))),
                       np.concatenate((wanted * weight, TRUST * hoped)), maxiter=10_000)
    return {key: float(f"{value:.4g}") for key, value in zip(features, solution / scale, strict=True)}


#: Model, target, family, and whether the whole network is synthesised, or each of its layers.
PLANS = (
    ("digits", 300, Family.ECP5, True), ("digits", 2000, Family.ICE40_DSP, True), ("digits", 300, Family.ECP5, False),
    ("kws_mlp", 2000, Family.ECP5, True), ("kws_mlp", 540, Family.ECP5, False),
    ("kws_cnn", 5600, Family.ECP5, False), ("kws_mlp", 8500, Family.ICE40_DSP, False),
)
DEVICES = {Family.ECP5: Device.ECP5_85K, Family.ICE40_DSP: Device.UP5K, Family.ICE40: Device.HX8K}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A layer, or a network, that was planned from a model."""

    name: str
    family: Family
    estimate: Resources
    make: Callable[[], wiring.Component]


def planned(models: Path) -> Iterator[Planned]:
    """Every planned layer and network; those of a model that is not there are left out."""
    with resources.as_file(resources.files("dovetail.cli") / "digits") as packaged:
        for model, target, family, is_whole in PLANS:
            folder = packaged if model == "digits" else models
            if not (folder / f"{model}.onnx").exists():
                continue
            settings = Settings(target_cycles=target, device=DEVICES[family])
            plan = compile_model(folder / f"{model}.onnx", calibration=folder / f"{model}_calibration.npz",
                                 settings=settings).plan
            graphs = {layer.arch.name: layer.images.engine.graph for layer in plan.layers
                      if isinstance(layer.images.engine, UnrolledImages)}
            name, device = f"{model} at {target} cycles", DEVICES[family]
            if is_whole:
                table = network_resources(plan.arch, device, graphs=graphs)
                yield Planned(
                    name=name, family=family, make=partial(NetworkTop, plan.arch, plan.images),
                    estimate=sum((part for layer in table.values() for part in layer.values()), Resources()))
                continue
            for layer in plan.layers:
                parts = layer_resources(layer.arch, device, graph=graphs.get(layer.arch.name))
                yield Planned(name=f"{name}, {layer.arch.name}", family=family,
                              make=partial(LayerUnit, layer.arch, layer.images),
                              estimate=sum(parts.values(), Resources()))


@dataclass(frozen=True, kw_only=True)
class Miss:
    """How far an estimate is from what was measured.

    Members
    -------
    lut, ff : float
        Relative errors, positive where the estimate is too high; of units of fewer than `SMALL` cells, relative to
        that.
    block_ram, multiplier : int
    """

    lut: float
    ff: float
    block_ram: int
    multiplier: int


def miss(estimate: Resources, cells: Cells) -> Miss:
    """Compare an estimate with a measurement."""
    return Miss(
        lut=(estimate.lut - cells.lut_equivalents) / max(cells.lut_equivalents, SMALL),
        ff=(estimate.ff - cells.ff) / max(cells.ff, SMALL), block_ram=estimate.block_ram - cells.bram,
        multiplier=estimate.multiplier - cells.dsp)


def errors(misses: list[Miss]) -> tuple[str, ...]:
    """Count, then median and worst error of look-up tables and flip-flops, then how often the exact cells are wrong."""
    if not misses:
        return ("0", *[""] * 6)
    lut, ff = ([abs(getattr(one, name)) for one in misses] for name in ("lut", "ff"))
    return (str(len(misses)), f"{np.median(lut):.1%}", f"{max(lut):.1%}", f"{np.median(ff):.1%}", f"{max(ff):.1%}",
            str(sum(one.block_ram != 0 for one in misses)), str(sum(one.multiplier != 0 for one in misses)))


def unit_table(found: list[Point]) -> Table:
    """Errors by family and kind of unit, of the fitted ones and of those held back."""
    table = Table(title="Drawn units", title_justify="left")
    for column in ("family", "unit", "set", "units", "LUT median", "worst", "FF median", "worst", "block RAM wrong",
                   "multipliers wrong"):
        table.add_column(column, justify="left" if column in ("family", "unit", "set") else "right")
    for family in Family:
        mine = [point for point in found if point.family is family]
        for kind in [*dict.fromkeys(point.kind for point in mine), "all"]:
            for held in (False, True):
                misses = [miss(point.tally.resources(), point.cells) for point in mine
                          if point.held == held and kind in (point.kind, "all")]
                table.add_row(family.value, kind, "held back" if held else "fitted", *errors(misses),
                              end_section=kind == "all" and held)
    return table


def plan_table(found: list[tuple[Planned, Cells]]) -> Table:
    """Every planned layer and network, estimated and measured."""
    table = Table(title="Layers and networks, planned from models, held back", title_justify="left")
    for column in ("family", "design", "LUT", "measured", "error", "FF", "measured", "error", "block RAM", "measured",
                   "multipliers", "measured"):
        table.add_column(column, justify="left" if column in ("family", "design") else "right")
    for plan, cells in found:
        estimate, error = plan.estimate, miss(plan.estimate, cells)
        table.add_row(plan.family.value, plan.name, f"{estimate.lut:,}", f"{cells.lut_equivalents:,}",
                      f"{error.lut:+.1%}", f"{estimate.ff:,}", f"{cells.ff:,}", f"{error.ff:+.1%}",
                      *map(str, (estimate.block_ram, cells.bram, estimate.multiplier, cells.dsp)))
    table.add_section()
    all_misses = [miss(plan.estimate, cells) for plan, cells in found]
    for name, value in (("median", np.median), ("worst", max)):
        if all_misses:
            lut, ff = (value([abs(getattr(one, part)) for one in all_misses]) for part in ("lut", "ff"))
            table.add_row("", name, "", "", f"{lut:.1%}", "", "", f"{ff:.1%}", "", "", "", "")
    return table


def write_table(tables: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]], path: Path) -> None:
    """Write the coefficients as a module."""
    lines = ['"""Coefficients of the resource model. Written by `python benchmarks/resource_model.py --write`."""', "",
             '__all__ = ["FF", "LUT"]']
    for name, table in zip(("LUT", "FF"), tables, strict=True):
        lines += ["", f"{name}: dict[str, dict[str, float]] = {{"]
        for fabric, coefficients in table.items():
            lines.append(f'    "{fabric}": {{')
            lines += [f'        "{key}": {value!r},' for key, value in sorted(coefficients.items())]
            lines.append("    },")
        lines.append("}")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "shared" / "models",
                        help="folder of kws_mlp and kws_cnn (default: %(default)s)")
    parser.add_argument("--synthesise", action="store_true",
                        help="measure what is not stored yet: about an hour for all of it")
    parser.add_argument("--write", action="store_true", help="write the coefficients into sw/resource_table.py")
    parser.add_argument("--quick", action="store_true",
                        help="synthesise again the smallest held-back unit of every kind, compare with what is stored, "
                             "and plan no model")
    arguments = parser.parse_args()
    console, measurements = Console(width=170), Measurements(STORED)
    if arguments.synthesise:
        for _, family, drawn in units():
            for unit in drawn:
                measurements.measure(unit, family, partial(build, unit))
    found = points(measurements)
    tables = fit(found)
    for stored, fitted in zip((LUT, FF), tables, strict=True):
        stored.clear()
        stored.update(fitted)
    if arguments.write:
        write_table(tables, Path(__file__).parents[1] / "sw" / "resource_table.py")
    console.print(unit_table(found))
    if arguments.quick:
        for family in Family:
            for kind in dict.fromkeys(point.kind for point in found if point.family is family):
                held = [point for point in found if point.held and (point.kind, point.family) == (kind, family)]
                if held:
                    point = min(held, key=lambda one: one.cells.lut_equivalents)
                    again = count_cells(build(point.unit), family)
                    console.print(f"{family.value}, {kind}: {again.lut_equivalents} LUT, {again.ff} FF; "
                                  + ("as stored" if again == point.cells else f"stored are {point.cells}"))
        return
    plans = []
    for plan in planned(arguments.models):
        cells = measurements.get(plan.name, plan.family)
        if cells is None and arguments.synthesise:
            cells = measurements.measure(plan.name, plan.family, plan.make)
        if cells is not None:
            plans.append((plan, cells))
    console.print(plan_table(plans))


if __name__ == "__main__":
    main()
