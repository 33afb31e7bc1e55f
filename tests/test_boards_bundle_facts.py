"""What the files for integrators state of a network."""

from dataclasses import replace

import pytest
from bundles import CASES

from dovetail.boards.build_folder import read_build
from dovetail.boards.bundle.facts import Border, facts_of
from dovetail.hw.memory_map import MappedMemory


def memory(depth):
    return {"000_weights0": MappedMemory(layer="fc", name="weights0", width=8, depth=depth, first=0, rows=(1,))}


@pytest.fixture(scope="module")
def plan(bundle_of):
    return bundle_of("signed").plan


@pytest.mark.parametrize(("bits", "is_signed", "octets", "c_type"), [
    (1, False, 1, "uint8_t"), (8, True, 1, "int8_t"), (9, False, 2, "uint16_t"), (17, True, 3, "int32_t"),
    (33, True, 5, "int64_t"), (64, False, 8, "uint64_t")])
def test_elements(bits, is_signed, octets, c_type):
    border = Border(bits=bits, signed=is_signed, width=2, pixels=3, channels=5)
    assert (border.octets, border.c_type) == (octets, c_type)
    assert (border.elements, border.words) == (15, 9)


@pytest.mark.parametrize(("depth", "sendable"), [(56 * 1170, True), (65_536, True), (65_593, False)])
def test_rows_beyond_the_link(plan, depth, sendable):
    """A LOAD's row has 16 bits."""
    assert facts_of(plan, memory(depth)).sendable == sendable


def test_interface_is_that_of_the_facts(bundle_of):
    for name in CASES:
        bundle = bundle_of(name)
        interface, facts = read_build(bundle.folder).manifest["interface"], facts_of(bundle.plan, {})
        for port, count, width, border in (
                ("input", "codes_per_frame", "codes_per_word", facts.given),
                ("output", "elements_per_frame", "elements_per_word", facts.result)):
            stated = interface[port]
            assert (stated[count], stated[width], stated["bits"], stated["signed"]) == (
                border.elements, border.width, border.bits, border.signed)
        assert ("load" in interface) == facts.loadable


@pytest.mark.parametrize(("name", "stated"), [
    ("digits", "digits"), ("kws-cnn v2", "kws_cnn_v2"), ("2nd", "network_2nd"), ("", "network"),
    ("Ziffern für */ \"x\"", "Ziffern_f_r_x")])
def test_name(plan, name, stated):
    """Whatever a model is called, it is a name for FuseSoC, and ends no comment."""
    assert facts_of(replace(plan, network=replace(plan.network, name=name)), {}).name == stated
