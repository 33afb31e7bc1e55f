"""The C files of a build folder, compiled, and called from Python."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dovetail.hw.link.messages import FLAG

__all__ = ["CONSTANTS", "Driver", "Status", "compile_driver", "find_c"]

#: Every number in network.h, in the order in which the shim below tells them.
CONSTANTS = (
    "CODES", "CODE_BITS", "CODE_SIGNED", "CODE_LOW", "CODE_HIGH", "ELEMENTS", "ELEMENT_BITS", "ELEMENT_SIGNED",
    "CHANNELS", "CODES_PER_WORD", "INPUT_WORDS", "INPUT_CHUNKS", "ELEMENTS_PER_WORD", "OUTPUT_WORDS", "OUTPUT_CHUNKS",
    "AXIS_INPUT_OCTETS", "AXIS_OUTPUT_OCTETS", "LINK_VERSION", "LOADABLE", "INFER_OCTETS", "RESULT_OCTETS",
    "HELLO_OCTETS", "LOAD_WORDS", "LOAD_OCTETS", "MOST_OCTETS", "REQUEST_OCTETS")

_SHIM = """\
#include "network.h"
#include <string.h>

const long constants[] = {%s};
const size_t code_octets = sizeof(network_code), element_octets = sizeof(network_element);
const double code_scale = NETWORK_CODE_SCALE, code_origin = NETWORK_CODE_ORIGIN;

static struct network_decoder decoder;
void restart(void) { memset(&decoder, 0, sizeof decoder); }
uint32_t dropped(void) { return decoder.dropped; }

/* 0, or 1 and a frame's type, tag and body; its length is put before it. */
int feed(uint8_t octet, uint8_t *found, size_t *count)
{
  if (!network_decode(&decoder, octet))
    return 0;
  found[0] = decoder.type;
  memcpy(found + 1, &decoder.tag, 4);
  memcpy(found + 5, decoder.body, decoder.body_count);
  *count = 5 + decoder.body_count;
  return 1;
}

static struct network_link line;
void open_line(int (*write)(void *, const uint8_t *, size_t), int (*read)(void *), uint32_t tag, unsigned attempts)
{
  memset(&line, 0, sizeof line);
  line.write = write;
  line.read = read;
  line.tag = tag;
  line.attempts = attempts;
}
int hello(struct network_hello *found) { return network_hello(&line, found); }
int infer(const network_code *codes, network_element *elements) { return network_infer(&line, codes, elements); }
int reason(void) { return line.reason; }

#if NETWORK_LOADABLE
static struct network_image images[NETWORK_MEMORIES];
static struct network_load load;
void set_image(size_t number, const uint8_t *octets, size_t count)
{
  images[number].octets = octets;
  images[number].count = count;
}
size_t next_load(uint8_t *body, uint32_t *contents)
{
  size_t count = network_load_body(&load, images, body);
  *contents = load.contents;
  if (!count)
    memset(&load, 0, sizeof load);
  return count;
}
int load_all(void) { return network_load_all(&line, images); }
#endif
"""

_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t)
_READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Status(IntEnum):
    """``enum network_status``."""

    OK = 0
    NOT_WRITTEN = -1
    NO_ANSWER = -2
    WRONG_ANSWER = -3
    WRONG_VERSION = -4
    WRONG_DESIGN = -5
    NOT_LOADED = -6
    REFUSED_CALL = -7


class Hello(ctypes.Structure):
    """``struct network_hello``."""

    _fields_ = [*((name, ctypes.c_uint8) for name in ("version", "loadable", "loaded", "window")),
                ("design", ctypes.c_uint8 * 8), ("contents", ctypes.c_uint32), ("clock_hz", ctypes.c_uint32),
                ("dropped", ctypes.c_uint16)]


class Types(NamedTuple):
    """Element types as numpy names them."""

    code: np.dtype
    element: np.dtype


def find_c() -> str:
    """A C compiler, or the test is skipped."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    pytest.skip("no C compiler (cc, gcc or clang) is installed")


def compile_driver(build: Path, work: Path) -> "Driver":
    """Compile a build folder's C files, strictly, and load them."""
    (work / "shim.c").write_text(_SHIM % ", ".join(f"NETWORK_{name}" for name in CONSTANTS))
    library = work / "network.so"
    source = build / "integrate"
    done = subprocess.run(
        [find_c(), "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-shared", "-fPIC", "-I", str(source),
         "-o", str(library), str(source / "network.c"), str(work / "shim.c")], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return Driver(ctypes.CDLL(str(library)))


class Driver:
    """The functions of network.h on numpy arrays and bytes."""

    def __init__(self, library: ctypes.CDLL):
        self.library = library
        found = (ctypes.c_long * len(CONSTANTS)).in_dll(library, "constants")
        self.constants = dict(zip(CONSTANTS, found, strict=True))
        signs = ("i" if self.constants["CODE_SIGNED"] else "u"), ("i" if self.constants["ELEMENT_SIGNED"] else "u")
        sizes = (ctypes.c_size_t.in_dll(library, f"{name}_octets").value for name in ("code", "element"))
        self.types = Types(*(np.dtype(f"{sign}{size}") for sign, size in zip(signs, sizes, strict=True)))
        library.network_encode.restype = ctypes.c_size_t
        if self.constants["LOADABLE"]:
            library.next_load.restype = ctypes.c_size_t
        for name in ("network_crc", "dropped"):
            getattr(library, name).restype = ctypes.c_uint32
        self.kept: list[object] = []        # what C holds pointers to

    def doubles(self, name: str, count: int) -> list[float]:
        return list((ctypes.c_double * count).in_dll(self.library, name))

    def octets_of(self, name: str, count: int) -> bytes:
        return bytes((ctypes.c_uint8 * count).in_dll(self.library, name))

    def from_codes(self, name: str, codes: np.ndarray, size: int, dtype: str) -> np.ndarray:
        """Call ``name(codes, out)`` for an array of so many elements."""
        given, out = np.ascontiguousarray(codes, self.types.code), np.full(size, 0xaa, dtype)
        getattr(self.library, name)(given.ctypes, out.ctypes)
        return out

    def to_elements(self, name: str, octets: np.ndarray) -> tuple[int, np.ndarray]:
        """Call ``name(octets, elements)``."""
        given, out = np.ascontiguousarray(octets), np.zeros(self.constants["ELEMENTS"], self.types.element)
        return getattr(self.library, name)(given.ctypes, out.ctypes), out

    def encode(self, kind: int, tag: int, body: bytes) -> bytes:
        frame = ctypes.create_string_buffer(2 * (len(body) + 9) + 2)
        count = self.library.network_encode(ctypes.c_uint8(kind), ctypes.c_uint32(tag), body,
                                            ctypes.c_size_t(len(body)), frame)
        return frame.raw[:count]

    def decode(self, octets: bytes) -> list[tuple[int, int, bytes]]:
        """Type, tag and body of every frame in octets that follow a flag."""
        self.library.restart()
        found, frame, count = [], ctypes.create_string_buffer(self.constants["MOST_OCTETS"]), ctypes.c_size_t()
        for octet in bytes([FLAG]) + octets:
            if self.library.feed(ctypes.c_uint8(octet), frame, ctypes.byref(count)):
                whole = frame.raw[:count.value]
                found.append((whole[0], int.from_bytes(whole[1:5], "little"), whole[5:]))
        return found

    def set_images(self, images: Sequence[bytes]) -> None:
        self.kept += images
        for number, image in enumerate(images):
            self.library.set_image(ctypes.c_size_t(number), image, ctypes.c_size_t(len(image)))

    def loads(self) -> tuple[list[bytes], int]:
        """Bodies of all LOADs, and what SEAL carries."""
        bodies, body, contents = [], ctypes.create_string_buffer(self.constants["LOAD_OCTETS"]), ctypes.c_uint32()
        while count := self.library.next_load(body, ctypes.byref(contents)):
            bodies.append(body.raw[:count])
        return bodies, contents.value

    def open(self, write: Callable[[bytes], None], read: Callable[[], int], *, tag: int = 0, attempts: int = 3) -> None:
        """A line on which ``read`` gives the next octet, or -1."""
        def written(context, octets, count):
            write(bytes(octets[:count]))
            return 0

        callbacks = _WRITE(written), _READ(lambda context: read())
        self.kept += callbacks
        self.library.open_line(*callbacks, ctypes.c_uint32(tag), ctypes.c_uint(attempts))

    def hello(self) -> tuple[Status, Hello]:
        found = Hello()
        return Status(self.library.hello(ctypes.byref(found))), found

    def infer(self, codes: np.ndarray) -> tuple[Status, np.ndarray]:
        given = np.ascontiguousarray(codes, self.types.code)
        out = np.zeros(self.constants["ELEMENTS"], self.types.element)
        return Status(self.library.infer(given.ctypes, out.ctypes)), out

    def load_all(self) -> Status:
        return Status(self.library.load_all())
