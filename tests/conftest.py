"""Settings and fixtures that all tests share."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from bundles import Bundle, make_bundle
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

# No deadline: the first example of a test may compile or elaborate, the next ones do not. In CI the examples are the
# same in every run, so that a failure belongs to the change it shows up with; elsewhere they keep searching.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def _beside(name: str) -> Path:
    folder = REPOSITORY.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder}, which is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of trained networks beside the checkout; skips where there is none."""
    return _beside("models")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets beside the checkout; skips where there is none."""
    return _beside("data")


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Build folders by their names in `bundles.CASES`, each written once: to be read, not changed."""
    path = tmp_path_factory.mktemp("bundles")
    return cache(lambda name: make_bundle(path, name))
