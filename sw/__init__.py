"""Software: reading models, quantising, packing, planning, memory images. numpy, never Amaranth."""
