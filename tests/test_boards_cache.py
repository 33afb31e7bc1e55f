"""The cache of tools' results: made once, whole or not at all, and never too large."""

import os
import time
from pathlib import Path

import pytest

from dovetail.boards import cache
from dovetail.boards.cache import content_key, kept
from dovetail.hw.errors import ToolFailed


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    return tmp_path / "synth"


def write(text):
    def make(folder: Path):
        (folder / "result").write_text(text)
    return make


def test_key_is_of_all_parts():
    keys = {content_key("a", "b"), content_key("ab"), content_key("b", "a"), content_key("a", "b", "")}
    assert len(keys) == 4
    assert content_key("a", "b") == content_key("a", "b")


def test_made_once(root):
    folder, cached = kept("k", write("one"))
    assert (folder, cached, (folder / "result").read_text()) == (root / "k", False, "one")
    assert kept("k", write("two")) == (folder, True)
    assert (folder / "result").read_text() == "one"
    assert [each.name for each in root.iterdir()] == ["k"]


def test_failure_leaves_a_log_and_no_result(root):
    def fail(folder):
        (folder / "result").write_text("half")
        (folder / "tool.log").write_text("what happened")
        raise ToolFailed("tool failed")

    log = root / "failed" / "k" / "tool.log"
    with pytest.raises(ToolFailed, match=rf"^tool failed \(log: {log}\)$"):
        kept("k", fail)
    assert log.read_text() == "what happened"
    assert [each.name for each in root.iterdir()] == ["failed"]
    assert kept("k", write("whole"))[1] is False


def test_interruption_leaves_nothing(root):
    def stop(folder):
        (folder / "result").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("k", stop)
    assert list(root.iterdir()) == []


def test_two_at_once(root):
    def slower(folder):
        kept("k", write("first"))
        (folder / "result").write_text("second")

    folder, _ = kept("k", slower)
    assert (folder / "result").read_text() == "first"
    assert [each.name for each in root.iterdir()] == ["k"]


def test_oldest_leave_first(root, monkeypatch):
    monkeypatch.setattr(cache, "_MOST_BYTES", 250)
    for age, key in ((30, "a"), (20, "b"), (10, "c")):
        kept(key, write("x" * 100))
        if (root / key).exists():
            os.utime(root / key, (time.time() - age,) * 2)
    assert sorted(each.name for each in root.iterdir()) == ["b", "c"]


def test_what_a_killed_process_left_is_removed_in_time(root):
    kept("a", write(""))
    for name, age in ((".old", 10 * 86400), (".new", 60)):
        (root / name).mkdir()
        os.utime(root / name, (time.time() - age,) * 2)
    kept("b", write(""))
    assert sorted(each.name for each in root.iterdir()) == [".new", "a", "b"]
