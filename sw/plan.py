"""The planner: engines, lanes, banks, folds and drain widths for a wanted number of cycles per inference."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..hw.arch import LayerArch, LayerImages, MemoryKind, Mode, NetworkArch, UnrolledArch, UnrolledImages
from ..hw.errors import DovetailError
from .candidates import Candidate, LayerTask
from .choose import PlanError, choose, pick
from .images import layer_images
from .network import Layer, Network
from .packer import Packing
from .positions import engine_order
from .reserve import board_reserve
from .resources import Resources, network_resources
from .settings import Device, LayerSettings, Settings

__all__ = ["DEFAULT_TARGET", "Plan", "PlanError", "PlannedLayer", "plan", "plan_resources"]

#: Wanted cycles per inference when nobody says, and no device either.
DEFAULT_TARGET = 1024
#: The device that sizes are estimated for when nobody says.
DEFAULT_DEVICE = Device.ECP5_85K
#: Rows that the load stream can number.
LOADABLE_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedLayer:
    """One layer as it will be built.

    Members
    -------
    layer : Layer
    mask : bool (M, L)
        Positions that have a slot.
    packing : Packing or None
        None of an unrolled layer.
    arch : LayerArch
    images : LayerImages
    """

    layer: Layer
    mask: np.ndarray
    packing: Packing | None
    arch: LayerArch
    images: LayerImages

    @property
    def rows(self) -> np.ndarray | None:
        """Rows (F, L), in the engine's order, where they differ from position to position."""
        engine = self.arch.engine
        if self.packing is None or isinstance(engine, UnrolledArch) or not engine.row_table:
            return None
        return self.packing.rows[:, self.order]

    @property
    def order(self) -> np.ndarray:
        """The model's position at every position of the engine, int64 (L,)."""
        return engine_order(self.arch.engine.positions, elements=self.arch.elements, window=self.arch.window)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A network as it will be built.

    Members
    -------
    network : Network
    settings : Settings
        What the plan was made for.
    arch : NetworkArch
    layers : tuple of PlannedLayer
    """

    network: Network
    settings: Settings
    arch: NetworkArch
    layers: tuple[PlannedLayer, ...]

    @property
    def images(self) -> list[LayerImages]:
        """Contents of every layer's memories, in order."""
        return [layer.images for layer in self.layers]


def plan(network: Network, settings: Settings, *, activity: Sequence[np.ndarray] | None = None) -> Plan:
    """Choose how every layer is built.

    With a target, the smallest network that is fast enough; without one, the fastest that fits the device, then the
    smallest of those. Where no device is named sizes are those on `DEFAULT_DEVICE`, nothing has to fit, and the target
    is `DEFAULT_TARGET` or, where a layer cannot reach that, as fast as it can be.

    A board's host loads what is missing before it sends inputs. So where nobody says whether the plan is loadable, no
    plan fits with its weights in the bitstream, and the device has SPRAM, which begins empty, it becomes loadable.

    Cycles and sizes are estimates here; ``sim.cycles`` has the exact cycles.

    Parameters
    ----------
    network : Network
    settings : Settings
    activity : sequence of float (elements,), optional
        Per layer, the probability that an element of its input is not zero. Without it every element that can be
        active counts as often as every other: K of L behind a k-WTA, all elsewhere.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If a layer cannot reach the target of the settings, and they do not fix both its lanes and its banks, or if
        nothing fits the device; says what can be reached, what is missing, and what would fit.
    DovetailError
        If a convolution takes what is no image, or another image, a setting names a layer that does not exist, or
        settings contradict each other.
    """
    loadable = settings.loadable
    if loadable is None and settings.hosted and settings.device is Device.UP5K:
        with suppress(PlanError):
            return replace(_plan(network, replace(settings, loadable=False), activity), settings=settings)
        loadable = True
    return replace(_plan(network, replace(settings, loadable=bool(loadable)), activity), settings=settings)


def _plan(network: Network, settings: Settings, activity: Sequence[np.ndarray] | None) -> Plan:
    """As `plan`, for settings that say whether it is loadable."""
    tasks = _tasks(network, settings, activity)
    offers: list[list[Candidate]] = []
    for task in tasks:
        try:
            offers.append(task.candidates())
        except ValueError as error:     # from the records and the packer, which check what they are given
            raise DovetailError(f"settings: layer {task.layer.name!r}: {error}") from error
    return _assemble(network, settings, tasks, _choice(network, tasks, offers, settings))


def plan_resources(made: Plan, device: Device) -> Resources:
    """What a plan is estimated to take of a device whose cells are known."""
    graphs = {layer.arch.name: layer.images.engine.graph for layer in made.layers
              if isinstance(layer.images.engine, UnrolledImages)}
    table = network_resources(made.arch, device, graphs=graphs)
    return sum((part for units in table.values() for part in units.values()), Resources())


def _tasks(network: Network, settings: Settings, activity: Sequence[np.ndarray] | None) -> list[LayerTask]:
    """What is to be built, layer by layer."""
    for before, layer in pairwise(network.layers):
        image = layer.window and (layer.window.channels, layer.window.height, layer.window.width)
        if image is not None and image != before.output_shape:
            raise DovetailError(f"layer {layer.name!r} sees an image of {_times(image)} where layer {before.name!r} "
                                f"leaves {_times(before.output_shape)}; there is no hardware that reshapes it")
    names = [layer.name for layer in network.layers]
    for name in settings.layers:
        if name not in names:
            raise DovetailError(f"settings: no layer {name!r}; the network has {', '.join(names)}")
    chosen = [settings.layers.get(name, LayerSettings()) for name in names]
    modes = [fixed.mode or settings.mode for fixed in chosen]
    if chosen[0].mode is None and modes[0] is Mode.SPARSE_SPARSE:
        modes[0] = Mode.SPARSE_DENSE
    tasks = []
    for number, (layer, fixed, mode) in enumerate(zip(network.layers, chosen, modes, strict=True)):
        before = network.layers[number - 1] if number else None
        joined = 1 if before is None or layer.window is not None else math.prod(before.output_shape[1:])
        elements = layer.positions // joined if layer.window is None else layer.window.channels
        selected = elements
        if mode is Mode.SPARSE_SPARSE and before is not None and before.winners:
            selected = before.winners
        active = np.full(layer.positions, selected / elements)
        if mode is Mode.SPARSE_SPARSE and activity is not None:
            active = activity[number]
            if layer.window is not None:
                active = layer.window.gather(active).mean(axis=(0, 1))
        tasks.append(LayerTask(
            layer=layer, fixed=fixed, settings=settings, mode=mode,
            mask=np.ones_like(layer.mask) if mode is Mode.DENSE else layer.mask, joined=joined, elements=elements,
            selected=selected, active=active, first=not number, consumer=[*modes, None][number + 1]))
    return tasks


def _choice(
    network: Network, tasks: list[LayerTask], offers: list[list[Candidate]], settings: Settings,
) -> list[Candidate]:
    """One candidate a layer."""
    target = settings.target_cycles
    if settings.device is not None and settings.device.is_routed:
        if target is not None:      # a layer whose multipliers are fixed is as fast as it is
            offers = [[replace(candidate, cycles=min(candidate.cycles, target)) for candidate in candidates]
                      if task.fixed.lanes and task.fixed.banks else candidates
                      for task, candidates in zip(tasks, offers, strict=True)]
        reserve = board_reserve(network, settings.device, loadable=bool(settings.loadable)) if settings.hosted else None
        try:
            return choose(offers, device=settings.device, target=target, reserve=reserve)
        except PlanError as error:
            if not settings.loadable and settings.device is Device.UP5K:
                raise PlanError(f"{error}; loadable = true in the plan would let weights be in SPRAM") from error
            raise
    chosen = []
    for task, candidates in zip(tasks, offers, strict=True):
        found = pick(candidates, device=DEFAULT_DEVICE, target=target or DEFAULT_TARGET)
        if found is None:
            found = min(candidates, key=lambda candidate: candidate.cycles)
            if target is not None and not (task.fixed.lanes and task.fixed.banks):
                raise PlanError(f"layer {task.layer.name!r} cannot reach {target} cycles per inference; "
                                f"the fastest engine found takes about {round(found.cycles)}")
        chosen.append(found)
    return chosen


def _assemble(network: Network, settings: Settings, tasks: list[LayerTask], chosen: list[Candidate]) -> Plan:
    """The layers side by side: each hands on as many elements a beat as the next one takes."""
    arches = []
    for candidate, following in zip(chosen, [*chosen[1:], None], strict=True):
        arch = candidate.arch
        if following is not None:
            try:
                arch = replace(arch, select=replace(arch.select, lanes=following.arch.input_lanes))
            except ValueError as error:
                raise DovetailError(f"settings: selection behind layer {arch.name!r}: {error}") from error
        arches.append(arch)
    window, lanes = arches[0].window, arches[0].input_lanes
    width = settings.input_width or lanes
    if window is not None and window.channels % width:
        raise DovetailError(f"settings: input_width must divide the image's channels ({window.channels}), not {width}")
    if lanes % width:
        raise DovetailError(f"settings: input_width must divide the first layer's lanes ({lanes}), not {width}")
    for arch in arches:
        if isinstance(arch.engine, UnrolledArch):
            continue
        if arch.engine.weight_memory is MemoryKind.SPRAM and not settings.loadable:
            raise DovetailError(f"settings: layer {arch.name!r} has its weights in SPRAM, which is empty until it is "
                                "loaded: loadable must be true")
        rows = max(arch.engine.lane_rows, arch.engine.folds * arch.engine.lane_positions, arch.engine.beats)
        if settings.loadable and rows > LOADABLE_ROWS:
            raise DovetailError(f"settings: layer {arch.name!r} has a memory of {rows} rows, too many for loadable: "
                                f"at most {LOADABLE_ROWS}; more lanes make it shallower")
    layers = tuple(
        PlannedLayer(layer=task.layer, mask=task.mask, packing=candidate.packing, arch=arch,
                     images=layer_images(task.layer, candidate.packing, task.mask, arch))
        for task, candidate, arch in zip(tasks, chosen, arches, strict=True))
    arch = NetworkArch(layers=tuple(arches), input_width=width, loadable=bool(settings.loadable))
    return Plan(network=network, settings=settings, arch=arch, layers=layers)


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
