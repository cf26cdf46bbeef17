"""Guards that are taken away are noticed: the quick ones; `python -m tests.support.guards` tries them all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guards

QUICK = [guard for guard in guards.GUARDS if guard.quick]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with guards.copied() as path:
        yield path


@pytest.mark.parametrize("guard", guards.GUARDS, ids=lambda guard: guard.name)
def test_the_words_of_every_guard_are_in_the_source(guard: guards.Guard) -> None:
    source = (guards.ROOT / "numbasep" / guard.file).read_text(encoding="utf-8")
    assert source.count(guard.words) == 1
    assert guard.words != guard.without


@pytest.mark.slow
@pytest.mark.parametrize("guard", QUICK, ids=lambda guard: guard.name)
def test_without_a_guard_its_test_fails(guard: guards.Guard, folder: Path) -> None:
    """With it the test passes, as the rest of this suite says."""
    passed, reason = guards.without(folder, guard)
    assert passed is False, f"nothing noticed: {reason}"
