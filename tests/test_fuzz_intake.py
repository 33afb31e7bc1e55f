"""Files made to break intake: whatever happens to a valid file, it is built, or refused in one line, soon.

Every case is a number. ``DOVETAIL_FUZZ_CASES`` says how many are run (``make fuzz``: 10,000); a case that fails is met
again with ``python tests/mutations.py CASE CASE+1``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import mutate, outcome
from seeds import SEEDS, make_seed

CASES = int(os.environ.get("DOVETAIL_FUZZ_CASES", "300"))
CHUNK = 150
WORKER = Path(__file__).with_name("mutations.py")


def run_cases(first, last):
    """Outcome of every case; a worker that dies is followed by one for the cases behind."""
    outcomes = {}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    while first < last:
        done = subprocess.run([sys.executable, WORKER, str(first), str(last)], capture_output=True, text=True,
                              env=environment, timeout=3600)
        lines = done.stdout.splitlines()
        outcomes |= {int(case.removeprefix("case ")): text for case, text in zip(lines[::2], lines[1::2], strict=False)}
        if done.returncode == 0:
            break
        if len(lines) % 2 == 0:
            raise RuntimeError(f"worker failed outside a case: {done.stderr[-2000:]}")
        first = int(lines[-1].removeprefix("case ")) + 1
        outcomes[first - 1] = f"broken: worker ended with {done.returncode}: {done.stderr[-300:]}"
    return outcomes


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_mutations(first):
    last = min(first + CHUNK, CASES)
    outcomes = run_cases(first, last)
    assert sorted(outcomes) == list(range(first, last))
    broken = [f"case {case} ({mutate(case)[0]}): {text}"
              for case, text in outcomes.items() if text.startswith("broken")]
    assert not broken, "\n".join(broken)
    # Both happen, or the mutations are of no use.
    assert {text.split()[0] for text in outcomes.values()} == {"built", "refused"}


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_seeds(tmp_path, number):
    """What is mutated is valid to begin with."""
    path = tmp_path / "m.onnx"
    path.write_bytes(make_seed(number).SerializeToString())
    assert outcome(path) == "built"


def test_repeats():
    assert mutate(7) == mutate(7)
