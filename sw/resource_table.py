"""Coefficients of the resource model. Written by `python benchmarks/resource_model.py --write`; do not edit."""

__all__ = ["FF", "LUT"]

LUT: dict[str, dict[str, float]] = {"ecp5": {}, "ice40": {}}

FF: dict[str, dict[str, float]] = {"ecp5": {}, "ice40": {}}
