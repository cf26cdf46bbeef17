"""The demo, small: its parts, and one whole run that writes a picture."""

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

import numbasep
from numbasep import cli
from numbasep.demo import kernels, load_photograph, measure, mirror_tile, report
from numbasep.demo.subjects import grey

SUBJECTS = {subject.name: subject for subject in kernels()}


@pytest.mark.parametrize(
    ("name", "rank"),
    [("Gaussian", 1), ("Sobel", 1), ("Laplacian of Gaussian", 2), ("Gabor", 2), ("Random", 15)],
)
def test_the_kernels_have_the_rank_that_their_remarks_claim(name: str, rank: int) -> None:
    values = np.linalg.svd(SUBJECTS[name].kernel.astype(np.float64), compute_uv=False)
    assert np.sum(values > 1e-5 * values[0]) == rank


def test_smoothing_keeps_the_mean_and_edges_ignore_it() -> None:
    for name, total in {"Gaussian": 1, "Disk": 1, "Sobel": 0, "Laplacian of Gaussian": 0}.items():
        assert SUBJECTS[name].kernel.sum(dtype=np.float64) == pytest.approx(total, abs=1e-6)


def test_the_photograph_ships_with_the_demo_extra() -> None:
    pytest.importorskip("skimage")
    photograph, name = load_photograph()
    assert "astronaut" in name
    assert photograph.dtype == np.float32
    assert photograph.ndim == 2
    assert photograph.std() > 0.2  # a picture, not a blank


def test_a_photograph_can_be_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "grey.png"
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    image.fromarray(pixels).save(path)
    photograph, name = load_photograph(path)
    assert name == "grey.png"
    np.testing.assert_allclose(photograph, pixels / 255, rtol=1e-6)


def test_colour_becomes_luma_of_any_depth() -> None:
    white = np.full((2, 2, 4), 65535, dtype=np.uint16)
    np.testing.assert_allclose(grey(white), 1, rtol=1e-6)
    green = np.zeros((2, 2, 3), dtype=np.float64)
    green[..., 1] = 1
    np.testing.assert_allclose(grey(green), 0.7152, rtol=1e-6)


def test_tiles_are_mirror_images() -> None:
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    tiled = mirror_tile(image, 4)
    np.testing.assert_array_equal(tiled[:2, :3], image)
    np.testing.assert_array_equal(tiled[2:, :3], image[::-1])
    np.testing.assert_array_equal(tiled[:, 3], tiled[:, 2])
    assert mirror_tile(image, 1) is not None
    assert mirror_tile(image, 1).shape == image.shape


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in ("a", "b")}
    seconds = measure.take_turns(calls, repeat=2)
    assert order == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}


@pytest.mark.parametrize("subject", kernels(), ids=lambda subject: subject.name)
def test_measurements_agree_with_scipy(subject: measure.Subject) -> None:
    array = np.random.default_rng(0).random((90, 120), dtype=np.float32)
    result = measure.measure(subject, array, repeat=1, peers=True)
    expected = scipy.ndimage.convolve(array, subject.kernel, np.float64)
    scale = np.abs(subject.kernel).sum() * array.max()
    assert np.abs(result.filtered - expected).max() <= (result.plan.error_bound + 1e-7) * scale
    assert result.difference is not None
    assert result.difference <= result.plan.error_bound + 1e-7
    assert {route.method for route in result.routes} >= {"direct", "separable", "fft"}
    assert all(route.measured is not None or route.reason for route in result.routes)
    printed = report.section(result)
    assert str(result.plan) in printed
    assert "scipy.ndimage" in printed


def test_the_whole_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("skimage")
    path = tmp_path / "figure.png"
    arguments = ["demo", "--output", str(path), "--size", "64", "--repeat", "1", "--no-peers"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    for subject in kernels():
        assert subject.name in printed
    assert f"figure: {path}" in printed
    from PIL import Image

    with Image.open(path) as figure:
        assert figure.width > 1500
        assert np.asarray(figure.convert("L")).std() > 20


def test_an_unwritable_figure_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["demo", "--output", str(tmp_path / "none" / "figure.png"), "--size", "64", "--repeat", "1"]
    assert cli.main([*arguments, "--no-peers"]) == 1
    assert "figure.png" in capsys.readouterr().err


def test_the_demo_uses_only_public_names() -> None:
    assert {"plan", "factorize", "Plan", "SeparableKernel"} <= set(numbasep.__all__)
