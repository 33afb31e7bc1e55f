"""Hardware: the units of a network, in Amaranth. ``arch`` holds the configuration records, and needs no Amaranth."""
