"""Models and simulators; `simulate` is what a test of a design of your own imports."""

from .simulate import Engine, Result, Simulation, simulate

__all__ = ["Engine", "Result", "Simulation", "simulate"]
