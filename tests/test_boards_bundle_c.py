"""The C driver of a build folder computes the same octets as the Python side, and takes nothing that is damaged."""

import ctypes
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from axis import beats
from board_model import frame, frames
from bundles import CASES
from c_driver import compile_driver

from dovetail.boards.host.codes import input_format, output_format
from dovetail.boards.host.identity import design_id
from dovetail.hw.layouts import activation_shape, frame_layout
from dovetail.hw.link.contents import contents_crc, load_messages
from dovetail.hw.link.messages import MOST_LOAD_WORDS, VERSION
from dovetail.hw.memory_map import memory_map
from dovetail.hw.network import result_shape
from dovetail.sim.payload import pack
from dovetail.sim.verify import frames_to_words

SOME = 40


@pytest.fixture(scope="module", params=CASES)
def built(request, bundle_of, tmp_path_factory):
    """A build folder, and its C files compiled."""
    work = tmp_path_factory.mktemp("build")
    bundle = bundle_of(request.param)
    return bundle, compile_driver(bundle.folder, work)


def random_rows(count, bits, is_signed, length):
    """Rows of a format, the greatest and the least number among them."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)
    rows = np.random.default_rng(bits).integers(low, high + 1, (count, length))
    rows[0], rows[1] = low, high
    return rows


def random_codes(bundle):
    first = bundle.plan.arch.layers[0].engine
    return random_rows(SOME, first.activation_bits, first.activation_signed, bundle.codes.shape[1])


def random_elements(bundle):
    select = bundle.plan.arch.layers[-1].select
    return random_rows(SOME, select.value_bits, select.value_signed, bundle.outputs.shape[1])


def result_words(bundle, elements):
    """Words of stream `o` that carry elements, as numbers of 32 bits."""
    last = bundle.plan.arch.layers[-1]
    words = frames_to_words(elements, last.select.width, pixels=last.pixels)
    exist = frames_to_words(np.ones_like(elements), last.select.width, pixels=last.pixels)["data"]
    words["keep"] = (exist << np.arange(last.select.width)).sum(axis=1)
    return pack(frame_layout(width=last.select.width, value=result_shape(bundle.plan.arch), keep=True), words)


def test_constants(built):
    bundle, driver = built
    arch, network, found = bundle.plan.arch, bundle.plan.network, driver.constants
    select = arch.layers[-1].select
    given, result = input_format(arch), output_format(arch)
    assert found["CHANNELS"] == select.kernels
    assert {name: found[name] for name in ("CODES", "CODE_BITS", "CODE_SIGNED", "INFER_OCTETS", "CODES_PER_WORD")} == {
        "CODES": given.count, "CODE_BITS": given.bits, "CODE_SIGNED": given.signed, "INFER_OCTETS": given.body,
        "CODES_PER_WORD": arch.input_width}
    assert (found["CODE_LOW"], found["CODE_HIGH"]) == network.input_range
    assert {name: found[name] for name in ("ELEMENTS", "ELEMENT_BITS", "ELEMENT_SIGNED", "RESULT_OCTETS")} == {
        "ELEMENTS": result.count, "ELEMENT_BITS": result.bits, "ELEMENT_SIGNED": result.signed,
        "RESULT_OCTETS": result.body}
    assert (found["LINK_VERSION"], found["LOAD_WORDS"], found["LOADABLE"]) == (VERSION, MOST_LOAD_WORDS, arch.loadable)
    assert driver.types.code.itemsize in (given.octets, 2 * given.octets - 2, given.octets + 1)
    assert driver.octets_of("network_design", 8) == design_id(arch, bundle.plan.images).to_bytes(8, "little")
    assert [ctypes.c_double.in_dll(driver.library, f"code_{name}").value for name in ("scale", "origin")] == [
        network.input_scale, network.input_origin]
    last = network.layers[-1]
    for name, value in (("network_scales", last.output_scale), ("network_offsets", last.output_offset)):
        assert driver.doubles(name, select.kernels) == np.broadcast_to(value, select.kernels).tolist()


def test_words(built):
    bundle, driver = built
    arch, found = bundle.plan.arch, driver.constants
    layout = frame_layout(width=arch.input_width, value=activation_shape(arch.layers[0].engine), keep=False)
    codes, elements = random_codes(bundle), random_elements(bundle)
    expected = pack(layout, frames_to_words(codes, arch.input_width, pixels=arch.input_pixels))
    assert expected.shape == (SOME * found["INPUT_WORDS"], found["INPUT_CHUNKS"])
    for row, wanted in zip(codes, expected.reshape(SOME, -1), strict=True):
        np.testing.assert_array_equal(driver.from_codes("network_to_words", row, wanted.size, "u4"), wanted)
    for row, words in zip(elements, result_words(bundle, elements).reshape(SOME, -1), strict=True):
        status, got = driver.to_elements("network_from_words", words)
        assert status == 0
        np.testing.assert_array_equal(got, row)


def test_words_that_are_no_frame(built):
    """Each bit of `keep` and `last` the other way round."""
    bundle, driver = built
    select, found = bundle.plan.arch.layers[-1].select, driver.constants
    words = result_words(bundle, bundle.outputs[:1])
    assert driver.to_elements("network_from_words", words)[0] == 0
    for word in range(found["OUTPUT_WORDS"]):
        for bit in range(select.width * select.value_bits, select.width * (select.value_bits + 1) + 1):
            damaged = words.copy()
            damaged[word, bit // 32] ^= np.uint32(1 << bit % 32)
            assert driver.to_elements("network_from_words", damaged)[0] == -1


def test_octets_of_axi_streams(built):
    bundle, driver = built
    arch, last, found = bundle.plan.arch, bundle.plan.arch.layers[-1], driver.constants
    given, result = input_format(arch), output_format(arch)
    for row in random_codes(bundle):
        octets = b"".join(data.to_bytes(given.octets * arch.input_width, "little") for data, _, _ in beats(
            row[np.newaxis], pixels=arch.input_pixels, width=arch.input_width, octets=given.octets))
        got = driver.from_codes("network_to_axis", row, found["AXIS_INPUT_OCTETS"], "u1")
        assert got.tobytes() == octets
    for row in random_elements(bundle):
        octets = b"".join(data.to_bytes(result.octets * last.select.width, "little") for data, _, _ in beats(
            row[np.newaxis], pixels=last.pixels, width=last.select.width, octets=result.octets))
        assert len(octets) == found["AXIS_OUTPUT_OCTETS"]
        np.testing.assert_array_equal(driver.to_elements("network_from_axis", np.frombuffer(octets, "u1"))[1], row)


def test_bodies(built):
    bundle, driver = built
    given, result = input_format(bundle.plan.arch), output_format(bundle.plan.arch)
    codes, elements = random_codes(bundle), random_elements(bundle)
    for row, body in zip(codes, given.pack(codes), strict=True):
        assert driver.from_codes("network_infer_body", row, given.body, "u1").tobytes() == body
    for row, body in zip(elements, result.pack(elements), strict=True):
        np.testing.assert_array_equal(driver.to_elements("network_result", np.frombuffer(body, "u1"))[1], row)


def some_octets(rng, most):
    """Octets, flags and escapes far more often than by chance."""
    octets = rng.integers(0, 256, rng.integers(0, most + 1))
    chosen = np.where(rng.random(len(octets)) < 0.3, rng.choice([0x7e, 0x7d, 0x5e, 0x5d], len(octets)), octets)
    return chosen.astype(np.uint8).tobytes()


def test_frames(built):
    _, driver = built
    rng, most = np.random.default_rng(0), driver.constants["MOST_OCTETS"] - 9
    for _ in range(200):
        kind, tag, body = int(rng.integers(256)), int(rng.integers(1 << 32)), some_octets(rng, most)
        octets = frame(kind, tag, body)
        assert driver.encode(kind, tag, body) == octets
        assert driver.decode(octets) == [(kind, tag, body)]


def test_garbage(built):
    """What the plain receiver takes is taken, and nothing else; what is too long is not."""
    _, driver = built
    rng, most = np.random.default_rng(1), driver.constants["MOST_OCTETS"] - 9
    taken = 0
    for _ in range(100):
        parts = [frame(int(rng.integers(256)), int(rng.integers(1 << 32)), some_octets(rng, most + 3))
                 if rng.random() < 0.5 else some_octets(rng, 2 * most) for _ in range(6)]
        octets, plain, expected, too_long = b"".join(parts), frames(), [], 0
        for octet in bytes([0x7e]) + octets:
            content = plain(octet)
            if content is not None and len(content) <= most + 5:
                expected.append((content[0], int.from_bytes(content[1:5], "little"), content[5:]))
            too_long += content is not None and len(content) > most + 5
        assert driver.decode(octets) == expected
        assert driver.library.dropped() == plain.dropped + too_long
        taken += len(expected)
    assert taken > 30


def test_wrong_octet(built):
    """A frame with any one octet changed, lost or doubled is refused, and the next one is not."""
    _, driver = built
    rng = np.random.default_rng(2)
    octets, good = frame(0x82, 77, some_octets(rng, 12)), (0x81, 5, b"good")
    for place in range(1, len(octets) - 1):
        for wrong in (bytes([octets[place] ^ 1 << rng.integers(8)]), b"", octets[place:place + 1] * 2):
            damaged = octets[:place] + wrong + octets[place + 1:]
            assert driver.decode(damaged + frame(*good)) == [good]


def test_short_and_aborted(built):
    """A right CRC is not enough: of fewer octets than a message has, or behind an octet that takes the frame back."""
    _, driver = built
    good = frame(0x81, 5, b"")
    for length in range(5):
        content = bytes(range(length))
        short = b"\x7e" + content + zlib.crc32(content).to_bytes(4, "little") + b"\x7e"
        assert not set(short[1:-1]) & {0x7d, 0x7e}
        assert driver.decode(short + good) == [(0x81, 5, b"")] and driver.library.dropped() == 1
    assert driver.decode(good[:-1] + b"\x7d\x7e" + good) == [(0x81, 5, b"")] and driver.library.dropped() == 1


def test_crc(built):
    _, driver = built
    assert driver.library.network_crc(0, b"123456789", ctypes.c_size_t(9)) == 0xcbf43926


def test_loads(built):
    bundle, driver = built
    if not bundle.plan.arch.loadable:
        assert not hasattr(driver.library, "network_load_body")
        return
    memories = memory_map(bundle.plan.arch, bundle.plan.images)
    files = sorted((bundle.folder / "images").glob("*.bin"))
    assert len(files) == len(memories)
    driver.set_images([file.read_bytes() for file in files])
    assert driver.loads() == (load_messages(memories), contents_crc(memories))


def test_header_in_cpp(built, tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++ or clang++) is installed")
    (tmp_path / "user.cc").write_text('#include "network.h"\nnetwork_link link_to_board;\n')
    done = subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I",
                           str(built[0].folder / "integrate"), "user.cc"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
