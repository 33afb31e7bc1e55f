"""Devices and what leaves for them: the build folder, its testbench, synthesis, place and route, netlists."""
