"""Running a sweep: points on a Dask cluster, results in a folder that a killed sweep takes up again."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dask.config
from distributed import Client, Future, LocalCluster, as_completed

from ..hw.errors import ToolFailed
from .sweep import Point, point_key, software
from .sweep_point import COLUMNS, Row, measure

__all__ = ["run_sweep", "write_whole"]

#: How long a scheduler, and its first worker, may take to answer.
PATIENCE_SECONDS = 30


def write_whole(path: Path, content: bytes) -> None:
    """Write a file such that it is there whole, as it was before, or not at all, whenever this process ends."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def run_sweep(
    points: Sequence[Point], folder: Path, *, files: Mapping[str, bytes] | None = None, scheduler: str | None = None,
    workers: int | None = None, retry: bool = False, evaluate: Callable[..., Row] = measure,
    report: Callable[[Point, Row, bool], None] = lambda point, row, known: None,
) -> list[Row]:
    """Measure every point that `folder` has no result of yet.

    A result is one JSON file, named after a digest of all that it depends on (`point_key`), and written as soon as it
    is known. This process writes it: workers send rows, so that a cluster needs no disk in common. (Netlists go to the
    cache of the machine that makes them.) What had not arrived when the sweep was killed is measured again, and nothing
    else.

    A point that cannot be measured has a row with its reason, and is not tried again without `retry`. A point that
    ended its worker twice has a row, too, but it is not stored.

    Parameters
    ----------
    points : sequence of Point
    folder : Path
        Made where it is absent; ``points/`` in it holds the results.
    files : Mapping[str, bytes], optional
        Contents of the files that points name.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:port``. By default processes are started on this machine.
    workers : int, optional
        How many; as many as there are cores by default.
    retry : bool
        Measure points again that have a stored error.
    evaluate : function
        What is called on a worker with the point and the bytes of its files.
    report : function
        Called with each point, its row and whether it was known already, as they come.

    Returns
    -------
    list of Row
        In the order of the points.

    Raises
    ------
    ToolFailed
        If the scheduler does not answer, has no worker, or one with another version of this package.
    """
    files = files or {}
    places = {point: folder / "points" / f"{point_key(point, files)}.json" for point in points}
    (folder / "points").mkdir(parents=True, exist_ok=True)
    rows: dict[Point, Row] = {}
    for point, place in places.items():
        row = _read(place)
        if row is not None and not (retry and row["error"]):
            rows[point] = row
            report(point, row, True)
    missing = [point for point in places if point not in rows]
    if missing:
        with _client(scheduler, workers) as client:
            for point, row, is_final in _measured(client, missing, files, evaluate, places):
                if is_final:
                    write_whole(places[point], json.dumps(row, indent=1).encode())
                rows[point] = row
                report(point, row, False)
    return [rows[point] for point in points]


def _read(place: Path) -> Row | None:
    try:
        row = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and "error" in row else None


def _measured(
    client: Client, points: Sequence[Point], files: Mapping[str, bytes], evaluate: Callable[..., Row],
    places: Mapping[Point, Path],
) -> Iterator[tuple[Point, Row, bool]]:
    """Points and rows as they come, and whether a row says something about the point."""
    names = sorted({name for point in points for name in (point.model, point.calibration) if name is not None})
    sent = {name: client.scatter(files[name]) for name in names}
    futures: dict[Future, Point] = {}
    for point in points:
        given = [name and sent[name] for name in (point.model, point.calibration)]
        futures[client.submit(evaluate, point, *given, key=f"dovetail-{places[point].stem}")] = point
    for future in as_completed(list(futures)):
        point, error = futures[future], future.exception()
        if error is not None:
            reason = " ".join(f"worker: {type(error).__name__}: {error}".split())
            yield point, {**dict.fromkeys(COLUMNS), **point.parameters, **software(), "error": reason}, False
            continue
        row = future.result()
        for name, value in software().items():
            if row[name] != value:
                raise ToolFailed(f"a worker has {name} {row[name]} where this process has {value}: install the same "
                                 "on both, or results cannot be compared")
        yield point, row, True


@contextmanager
def _client(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    # A point that ends its worker, for want of memory say, is tried three times more and then given up: fewer, and one
    # that happened to wait for the same workers is blamed, too.
    with dask.config.set({"distributed.scheduler.allowed-failures": 3}):
        if scheduler is None:
            with (LocalCluster(n_workers=workers or os.cpu_count() or 1, threads_per_worker=1, processes=True,
                               memory_limit=None, dashboard_address="127.0.0.1:0",
                               silence_logs=logging.ERROR) as cluster, Client(cluster) as client):
                yield client
            return
        try:
            client = Client(scheduler, timeout=PATIENCE_SECONDS)
        except (OSError, ValueError) as error:      # nobody there, or no address
            raise ToolFailed(f"no Dask scheduler answers at {scheduler}: {error}") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
            except TimeoutError as error:
                raise ToolFailed(f"the Dask scheduler at {scheduler} has no workers") from error
            yield client
