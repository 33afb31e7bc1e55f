"""Which accumulator each kernel of a packed layer gets, and in which order sums therefore come out.

Sums leave the engine R at a time, on R ports, in an order that the packing dictates; k-WTA and the user want the
model's own order. Port p holds the KIDs with ``kid % R == p``, and the R elements of one word of the model's order are
written to R memories at once, one per port. So the R kernels of every word must have R different ports, whatever sets
they are in. That is an edge colouring: words and groups of R accumulators are the two sides of a bipartite multigraph,
kernels its edges, ports the colours. Every vertex has at most R edges, so R colours do (Koenig 1916).
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from ..hw.arch import EngineArch, SelectImages, bits_for, ceil_div
from .packer import Packing

__all__ = ["assign_kids", "drain_order", "select_images"]


def assign_kids(packing: Packing, arch: EngineArch) -> np.ndarray:
    """Give every kernel a KID.

    Returns
    -------
    int64 (F, B, kids)
        The kernel of each accumulator, -1 where there is none.
    """
    width, kids = arch.drain_width, arch.kids
    table = np.full((packing.folds, packing.banks, kids), -1, np.int64)
    sets = [(fold, bank, [int(k) for k in packing.members[fold, bank] if k >= 0])
            for fold in range(packing.folds) for bank in range(packing.banks)]
    ports = _natural_ports(sets, width, kids // width) or _coloured_ports(sets, width, kids // width)
    for fold, bank, kernels in sets:
        for port in range(width):
            mine = sorted(kernel for kernel in kernels if ports[kernel] == port)
            table[fold, bank, port:port + len(mine) * width:width] = mine
    return table


def _natural_ports(sets, width: int, share: int) -> dict[int, int] | None:
    """``kernel % width``, where every set has room for it: then words need no permutation."""
    for _, _, kernels in sets:
        if any(count > share for count in np.bincount([kernel % width for kernel in kernels], minlength=width)):
            return None
    return {kernel: kernel % width for _, _, kernels in sets for kernel in kernels}


def _coloured_ports(sets, width: int, share: int) -> dict[int, int]:
    """A proper edge colouring: take perfect matchings off a regular multigraph, one per port."""
    groups = [kernels[start:start + width] for _, _, kernels in sets
              for start in range(0, share * width, width)]
    size = len(groups)
    edges: dict[tuple[int, int], list[int]] = {}
    word_room = np.full(size, width)
    for group, kernels in enumerate(groups):
        for kernel in kernels:
            edges.setdefault((kernel // width, group), []).append(kernel)
            word_room[kernel // width] -= 1
    # Edges of no kernel make every vertex's degree exactly R, so that a perfect matching exists R times over.
    word = 0
    for group, kernels in enumerate(groups):
        for _ in range(width - len(kernels)):
            while not word_room[word]:
                word += 1
            edges.setdefault((word, group), []).append(-1)
            word_room[word] -= 1
    ports = {}
    for port in range(width):
        rows, columns = np.array(sorted(edges)).T
        graph = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
        matched = maximum_bipartite_matching(graph, perm_type="column")
        for row, column in enumerate(matched.tolist()):
            parallel = edges[row, column]
            kernel = parallel.pop()
            if kernel >= 0:
                ports[kernel] = port
            if not parallel:
                del edges[row, column]
    return ports


def drain_order(table: np.ndarray, arch: EngineArch) -> np.ndarray:
    """Kernel at every port of every beat of a vector, int64 (beats, R), -1 where a beat's port belongs to none."""
    folds, banks, _ = table.shape
    order = table.reshape(folds, banks, arch.groups, arch.group // arch.drain_width, arch.drain_width)
    return order.transpose(0, 2, 1, 3, 4).reshape(arch.beats, arch.drain_width)


def select_images(order: np.ndarray, kernels: int) -> SelectImages:
    """Memory contents that bring drained elements back into the model's order."""
    width = order.shape[1]
    words = ceil_div(kernels, width)
    valid = 1 << bits_for(words)
    entries = np.where(order >= 0, order // width | valid, 0)
    ranks = np.full((words, width), -1, np.int64)
    for port in range(width):
        mine = order[:, port][order[:, port] >= 0]
        ranks[mine // width, mine % width] = port
    for row in ranks:       # elements behind the last kernel take the ports that are left
        row[row < 0] = sorted(set(range(width)) - set(row.tolist()))
    return SelectImages(
        order=tuple(tuple(column) for column in entries.T.tolist()), ranks=tuple(map(tuple, ranks.tolist())))
