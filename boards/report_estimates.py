"""What the resource model says of a plan, brought into the report's records."""

from importlib.metadata import version

from ..hw.arch import UnrolledImages
from ..sw.plan import Plan
from ..sw.resources import Resources, capacity, network_resources
from ..sw.settings import Device
from .report_parts import DeviceFit, Mark, UnitUse, Use

__all__ = ["KNOWN_DEVICES", "device_fits", "estimated_cells", "unit_uses"]

#: Devices whose cells the model knows.
KNOWN_DEVICES = tuple(device for device in Device if capacity(device) is not None)
#: Members of `Resources`, as people call them.
_NAMES = {"lut": "look-up tables", "ff": "flip-flops", "block_ram": "block RAMs", "multiplier": "multipliers",
          "spram": "large memories"}


def _by_unit(plan: Plan, device: Device) -> dict[str, dict[str, Resources]]:
    graphs = {layer.arch.name: layer.images.engine.graph for layer in plan.layers
              if isinstance(layer.images.engine, UnrolledImages)}
    return network_resources(plan.arch, device, graphs=graphs)


def _cells(resources: Resources) -> dict[str, int]:
    return {name: getattr(resources, member) for member, name in _NAMES.items()}


def _only_used(rows: list[dict[str, int]]) -> list[dict[str, int]]:
    """The same without kinds of cells that nothing takes."""
    used = [name for name in _NAMES.values() if any(row[name] for row in rows)]
    return [{name: row[name] for name in used} for row in rows]


def unit_uses(plan: Plan, device: Device) -> tuple[UnitUse, ...]:
    """Cells of every unit, in the order of the pipeline; the network's border is last."""
    layers = {layer.name for layer in plan.arch.layers}
    found = [(layer if layer in layers else "", unit, _cells(resources))
             for layer, units in _by_unit(plan, device).items() for unit, resources in units.items()]
    kept = _only_used([cells for _, _, cells in found])
    return tuple(UnitUse(layer=layer, unit=unit, cells=cells)
                 for (layer, unit, _), cells in zip(found, kept, strict=True))


def estimated_cells(plan: Plan, device: Device) -> dict[str, int]:
    """Cells of a whole network."""
    units = (each for layer in _by_unit(plan, device).values() for each in layer.values())
    return _cells(sum(units, start=Resources()))


def device_fits(plan: Plan) -> tuple[DeviceFit, ...]:
    """The network on every device that is known, smallest first."""
    found = []
    for device in KNOWN_DEVICES:
        there, cells = capacity(device), estimated_cells(plan, device)
        available = _cells(there) if there is not None else {}
        found.append(DeviceFit(device=device.value, uses=tuple(
            Use(resource=name, used=cells[name], available=available[name], mark=Mark.ESTIMATED,
                by=f"Dovetail {version('dovetail')}") for name in available)))
    used = {use.resource for fit in found for use in fit.uses if use.used}
    return tuple(DeviceFit(device=fit.device, uses=tuple(use for use in fit.uses if use.resource in used))
                 for fit in found)
