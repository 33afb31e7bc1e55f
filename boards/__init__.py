"""Devices and what leaves for them: the build folder, its testbench, cell counts."""
