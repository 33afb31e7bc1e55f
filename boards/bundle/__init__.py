"""What a build folder carries so that others can wire the network up: wrappers, tests and a driver in C."""
