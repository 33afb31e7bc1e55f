"""``plan.toml``: what was planned, key by key, to edit and give back."""

import json

from ..hw.arch import EngineKind, UnrolledArch
from ..sw.plan import Plan

__all__ = ["plan_toml"]

#: What a key of ``plan.toml`` means.
_MEANING = {
    "target_cycles": "cycles per inference that every layer must keep up with",
    "input_width": "codes per beat of the input",
    "loadable": "true: memories can be written at run time",
    "mode": "sparse-sparse, sparse-dense or dense",
    "engine": "folded: weights in memories; unrolled: a first convolution in logic",
    "lanes": "inputs taken at once",
    "banks": "sets computed at once; lanes x banks is the number of multipliers",
    "set_size": "N, the most kernels of a set, which share a multiplier",
    "columns": "sums that a bank gives up a cycle",
    "drain_width": "sums that leave the engine a cycle",
    "accumulator": "where sums are: lut-ram or block-ram",
    "weight_memory": "where weights are: lut-ram, block-ram, spram, or auto: left to synthesis",
    "tables": "where biases and the like are: registers, lut-ram, block-ram, auto",
    "kwta": "how winners are found: global (histogram) or local (registers)",
    "bins": "histogram bins searched a cycle",
    "turns": "finders of winners that take turns, vector by vector",
    "buffers": "vectors that the store behind the engine holds",
    "vectors": "vectors that wait behind an unrolled engine, the one that is sent included",
    "soft": "multipliers made of look-up tables",
}


def plan_toml(plan: Plan, made_with: str) -> str:
    """The plan as settings that give the same plan again, with the options it was made with.

    Parameters
    ----------
    plan : Plan
    made_with : str
        One line for a comment, or none.

    Returns
    -------
    str
    """
    text = "# The plan that was built; edit it and give it back with --config.\n"
    if made_with:
        text += f"# made with {made_with}\n"
    given = {} if plan.settings.target_cycles is None else {"target_cycles": plan.settings.target_cycles}
    text += _toml({**given, "input_width": plan.arch.input_width, "loadable": plan.arch.loadable})
    for layer in plan.arch.layers:
        engine, select = layer.engine, layer.select
        keys: dict[str, str | int] = {"mode": layer.mode.value}
        if isinstance(engine, UnrolledArch):
            keys |= {"engine": EngineKind.UNROLLED.value, "drain_width": engine.drain_width, "vectors": engine.vectors}
        else:
            keys |= {"engine": EngineKind.FOLDED.value}
            keys |= {key: getattr(engine, key)
                     for key in ("lanes", "banks", "set_size", "columns", "drain_width", "soft")}
            keys |= {"accumulator": engine.accumulator.value, "weight_memory": engine.weight_memory.value}
        keys |= {"tables": layer.tables.value}
        if select.is_kwta:
            keys |= {"kwta": select.kind.value, "bins": select.bins, "turns": select.turns}
        keys |= {"buffers": select.buffers}
        text += f"\n[layers.{json.dumps(layer.name, ensure_ascii=False)}]\n{_toml(keys)}"
    return text


def _toml(keys: dict[str, str | int]) -> str:
    """Keys of a table, a line each, with what they mean."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    wide = max(map(len, lines))
    return "".join(f"{line:{wide}}  # {_MEANING[key]}\n" for line, key in zip(lines, keys, strict=True))
