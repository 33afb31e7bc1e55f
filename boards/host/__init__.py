"""The host's end of the link: a driver for boards, and a board without the board."""
