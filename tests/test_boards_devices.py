"""Devices: every one has a record, with what its data sheet says."""

import pytest

from dovetail.boards.devices import DEVICES
from dovetail.sw.settings import Device


def test_every_device_has_a_record():
    assert set(DEVICES) == set(Device)
    assert all(record.device is device for device, record in DEVICES.items())


@pytest.mark.parametrize("device, lut, ff, bram, dsp, spram", [
    (Device.UP5K, 5280, 5280, 30, 8, 4),
    (Device.HX8K, 7680, 7680, 32, 0, 0),
    (Device.ECP5_25K, 24288, 24288, 56, 28, 0),
    (Device.ECP5_45K, 43848, 43848, 108, 72, 0),
    (Device.ECP5_85K, 83640, 83640, 208, 156, 0),
])
def test_capacity(device, lut, ff, bram, dsp, spram):
    capacity = DEVICES[device].capacity
    assert capacity is not None
    assert (capacity.lut, capacity.ff, capacity.bram, capacity.dsp, capacity.spram) == (lut, ff, bram, dsp, spram)


def test_only_ultrascale_is_never_placed():
    assert [device for device, record in DEVICES.items() if record.placer is None] == [Device.XCUP]
    assert DEVICES[Device.XCUP].capacity is None


def test_routed_by_router2():
    for record in DEVICES.values():
        assert ("router2" in record.options) is (record.placer is not None)
