"""External data: bytes of a tensor that stand in a file beside the model, read from the model's own folder only."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from ...hw.errors import ModelError

__all__ = ["read_external"]


def read_external(tensor: TensorProto, *, folder: Path | None, size: int) -> bytes:
    """Read the bytes of a tensor whose data stand outside the model.

    Parameters
    ----------
    tensor : TensorProto
        With ``data_location`` EXTERNAL; its ``checksum`` is ignored.
    folder : Path or None
        Of the model. Nothing outside it is opened, whatever the tensor says and wherever links lead.
    size : int
        Bytes that type and shape of the tensor need.

    Raises
    ------
    ModelError
        If the place is not inside the folder, is no file, or does not hold exactly these bytes; names the tensor.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    what = f"tensor {tensor.name!r} has external data"
    if folder is None:
        raise ModelError(f"{what}, and no folder to read it from; save the model with its weights inside")
    if not location or "\0" in location:
        raise ModelError(f"{what} without a location")
    offset, length = (_number(what, key, entries.get(key, default))
                      for key, default in (("offset", "0"), ("length", str(size))))
    if length != size:
        raise ModelError(f"{what} of {length} bytes, but its type and shape need {size}")
    path = folder / location
    plain = all(not part.is_absolute() and not part.drive and ".." not in part.parts
                for part in (PurePosixPath(location), PureWindowsPath(location)))
    try:
        if not plain or not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{what} in {location!r}, which is not inside the folder of the model")
        if path.exists() and not path.is_file():
            raise ModelError(f"{what} in {location!r}, which is not a file")
        held = path.stat().st_size
        if offset + size > held:
            raise ModelError(f"{what} of {size} bytes at {offset} in {location!r}, which has {held} bytes")
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except (OSError, RuntimeError) as error:   # RuntimeError: a link that leads to itself
        reason = error.strerror if isinstance(error, OSError) else "its links go round in a circle"
        raise ModelError(f"{what} in {location!r}, which cannot be read: {reason}") from error
    if len(data) != size:
        raise ModelError(f"{what} in {location!r}, which changed while it was read")
    return data


def _number(what: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ModelError(f"{what} with the {key} {text[:80]!r}, which is no number of bytes")
    return int(text)
