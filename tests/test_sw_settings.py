"""Settings files: what they say, and the one line for what they must not."""

import re

import pytest

from dovetail.hw.arch import AccumulatorKind, MemoryKind, Mode, SelectKind
from dovetail.hw.errors import DovetailError
from dovetail.sw.settings import Device, LayerSettings, Settings, read_settings


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_everything(tmp_path):
    found = read_settings(write(tmp_path / "plan.toml", """
        target_cycles = 500
        mode = "dense"
        input_width = 2
        loadable = true
        device = "up5k"
        [layers.fc0]
        mode = "sparse-sparse"
        lanes = 4
        banks = 3
        set_size = 16
        columns = 2
        drain_width = 8
        accumulator = "block-ram"
        kwta = "local"
        bins = 8
        turns = 3
        buffers = 4
        vectors = 5
        soft = 3
        weight_memory = "spram"
        tables = "registers"
        [layers."/fc/Gemm"]
    """))
    assert found == Settings(
        target_cycles=500, mode=Mode.DENSE, input_width=2, loadable=True, device=Device.UP5K,
        layers={"fc0": LayerSettings(mode=Mode.SPARSE_SPARSE, lanes=4, banks=3, set_size=16, columns=2, drain_width=8,
                                     accumulator=AccumulatorKind.BLOCK_RAM, kwta=SelectKind.LOCAL, bins=8,
                                     turns=3, buffers=4, vectors=5, soft=3,
                                     weight_memory=MemoryKind.SPRAM, tables=MemoryKind.REGISTERS),
                "/fc/Gemm": LayerSettings()})


def test_empty_file(tmp_path):
    assert read_settings(write(tmp_path / "plan.toml", "")) == Settings()


@pytest.mark.parametrize(("device", "has_lut_ram"), [
    (Device.UP5K, False), (Device.HX8K, False), (Device.ECP5_25K, True), (Device.ECP5_85K, True), (Device.XCUP, True)])
def test_devices(device, has_lut_ram):
    assert device.has_lut_ram == has_lut_ram


@pytest.mark.parametrize(("text", "message"), [
    ("lanes = 3", "unknown setting 'lanes'; known are target_cycles, mode, input_width, loadable, device, hosted"),
    ("target_cycles = 0", "target_cycles must be a whole number of at least 1, not 0"),
    ("target_cycles = 1.5", "target_cycles must be a whole number of at least 1, not 1.5"),
    ("target_cycles = true", "target_cycles must be a whole number of at least 1, not True"),
    ('input_width = "2"', "input_width must be a whole number of at least 1, not '2'"),
    ("loadable = 1", "loadable must be true or false, not 1"),
    ('mode = "sparse"', "mode must be one of dense, sparse-dense, sparse-sparse, not 'sparse'"),
    ('device = "up6k"', "device must be one of up5k, hx8k, ecp5-25k, ecp5-45k, ecp5-85k, xcup, not 'up6k'"),
    ("layers = 3", "layers must be tables, written [layers.NAME]"),
    ("[layers]\nfc0 = 3", "layers must be tables, written [layers.NAME]"),
    ("[layers.fc0]\nlane = 3", "layer fc0: unknown setting 'lane'; known are mode, engine, lanes, banks, set_size, "
     "columns, drain_width, accumulator, kwta, bins, turns, buffers, vectors, soft, weight_memory, tables"),
    ('[layers.fc0]\nengine = "fast"', "layer fc0: engine must be one of folded, unrolled, not 'fast'"),
    ("[layers.fc0]\nbanks = -1", "layer fc0: banks must be a whole number of at least 1, not -1"),
    ("[layers.fc0]\nsoft = -1", "layer fc0: soft must be a whole number of at least 0, not -1"),
    ("[layers.fc0]\nbanks = [1]", "layer fc0: banks must be a whole number of at least 1, not [1]"),
    ('[layers.fc0]\nkwta = "all"', "layer fc0: kwta must be one of global, local, not 'all'"),
    ('[layers.fc0]\nweight_memory = "rom"', "layer fc0: weight_memory must be one of auto, lut-ram, registers, "
     "block-ram, spram, not 'rom'"),
    ('[layers.fc0]\ntables = "spram"', "layer fc0: tables must be one of auto, lut-ram, registers, block-ram, "
     "not 'spram'"),
    ('[layers.fc0]\naccumulator = "ram"', "layer fc0: accumulator must be one of lut-ram, block-ram, not 'ram'"),
])
def test_content_wrong(tmp_path, text, message):
    path = write(tmp_path / "plan.toml", text)
    with pytest.raises(DovetailError, match=f"^{re.escape(f'{path}: {message}')}$") as caught:
        read_settings(path)
    assert caught.value.exit_code == 2


def test_no_toml(tmp_path):
    path = write(tmp_path / "plan.toml", "mode =")
    with pytest.raises(DovetailError, match=rf"^{re.escape(str(path))}: not a TOML file: "):
        read_settings(path)


def test_no_text(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"mode = '\xff'")
    with pytest.raises(DovetailError, match=rf"^{re.escape(str(path))}: not a TOML file: "):
        read_settings(path)


def test_no_file(tmp_path):
    path = tmp_path / "plan.toml"
    with pytest.raises(DovetailError, match=rf"^{re.escape(str(path))}: cannot be read: No such file or directory$"):
        read_settings(path)


def test_target_wrong():
    with pytest.raises(ValueError, match=r"^target_cycles must be at least 1, not 0$"):
        Settings(target_cycles=0)
