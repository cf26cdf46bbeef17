"""Arrays of other types at the door: which handler a call goes to, and what plain arrays pay for it."""

import inspect
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

import numbasep as nsp
from numbasep.arguments import dispatch

FILTERS = sorted(
    name
    for name, value in ((name, getattr(nsp, name)) for name in nsp.__all__)
    if inspect.isfunction(value) and "input" in inspect.signature(value).parameters
)
LAYERS = ["conv2d", "depthwise_conv2d", "separable_conv2d"]
GRADIENTS = [name + "_vjp" for name in LAYERS]
PUBLIC = [*FILTERS, *(f"nn.{name}" for name in LAYERS + GRADIENTS)]


class OnTheDevice:
    """What a CUDA array looks like from outside."""

    __cuda_array_interface__ = {"shape": (4, 4), "typestr": "<f4", "data": (1, False), "version": 3}  # noqa: RUF012

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("implicit copies to the host are not allowed")


def function(name: str) -> Any:
    return getattr(nsp.nn, name[3:]) if name.startswith("nn.") else getattr(nsp, name)


def arguments(name: str, first: Any) -> list[Any]:
    """`first`, and something for every further parameter that has no default."""
    parameters = list(inspect.signature(function(name)).parameters.values())[1:]
    return [first, *(None for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD)]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A CUDA backend that only writes down what it was asked."""
    calls: list[tuple[str, dict[str, Any]]] = []
    module = types.ModuleType("numbasep.cuda.run")
    module.call = lambda name, arguments: calls.append((name, arguments)) or "result"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numbasep.cuda.run", module)
    return calls


@pytest.fixture
def no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numbasep.cuda.run", None)


def test_there_are_filters() -> None:
    assert len(FILTERS) == 18


@pytest.mark.parametrize("name", PUBLIC)
def test_arrays_on_a_gpu_go_to_the_cuda_backend(name: str, backend: list[Any]) -> None:
    array = OnTheDevice()
    assert function(name)(*arguments(name, array)) == "result"
    ((called, given),) = backend
    assert called == name
    first, *others = inspect.signature(function(name)).parameters
    assert given[first] is array
    assert set(given) == {first, *others}
    assert given.get("method", "auto") == "auto"  # defaults are filled in


@pytest.mark.parametrize("name", PUBLIC)
def test_without_a_backend_the_error_says_what_to_install(name: str, no_backend: None) -> None:
    with pytest.raises(ModuleNotFoundError, match=r'OnTheDevice on the GPU.*pip install "numbasep\[cuda\]"'):
        function(name)(*arguments(name, OnTheDevice()))


def test_the_device_keyword_sends_numpy_arrays(backend: list[Any]) -> None:
    image = np.eye(5)
    assert nsp.gaussian_filter(image, 1, device="cuda") == "result"
    assert nsp.gaussian_filter(image.tolist(), sigma=1, device="cuda") == "result"
    assert [name for name, _ in backend] == ["gaussian_filter"] * 2
    assert backend[0][1]["sigma"] == 1
    assert isinstance(nsp.gaussian_filter(image, 1), np.ndarray)
    assert isinstance(nsp.gaussian_filter(image, 1, device="cpu"), np.ndarray)
    assert len(backend) == 2


def test_the_device_keyword_without_a_backend(no_backend: None) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"device='cuda' needs the CUDA backend.*numbasep\[cuda\]"):
        nsp.convolve(np.eye(3), np.eye(3), device="cuda")


def test_an_array_on_a_gpu_is_not_copied_to_the_cpu_in_silence(backend: list[Any]) -> None:
    with pytest.raises(ValueError, match="device='cpu' with a OnTheDevice"):
        nsp.sobel(OnTheDevice(), device="cpu")
    assert backend == []


def test_further_keywords_reach_the_backend(backend: list[Any]) -> None:
    nsp.gaussian_laplace(OnTheDevice(), 2.0, mode="wrap", truncate=3.0)
    _, given = backend[0]
    assert given["kwargs"] == {"truncate": 3.0}
    assert given["mode"] == "wrap"


def test_the_first_argument_may_be_named(backend: list[Any]) -> None:
    array = OnTheDevice()
    nsp.uniform_filter(size=3, input=array)
    assert backend[0][1]["input"] is array
    np.testing.assert_array_equal(nsp.uniform_filter(input=np.ones((3, 3)), size=3), 1)


def test_wrong_calls_fail_as_python_functions_do() -> None:
    with pytest.raises(TypeError, match=r"gaussian_filter\(\) missing 2 required positional arguments"):
        nsp.gaussian_filter()
    with pytest.raises(TypeError, match="unexpected keyword argument 'sigmas'"):
        nsp.gaussian_filter(np.eye(3), sigmas=1)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_wrapper_looks_like_the_function(name: str) -> None:
    wrapper = function(name)
    inner = inspect.unwrap(wrapper)
    assert inner is not wrapper
    assert wrapper.__doc__ == inner.__doc__
    assert wrapper.__name__ == inner.__name__
    assert wrapper.__globals__ is inner.__globals__  # what doctest goes by
    assert inspect.signature(wrapper) == inspect.signature(inner)
    assert dispatch.public_name(wrapper) == name


def test_looking_at_types_imports_nothing() -> None:
    script = (
        "import sys, numpy as np, numbasep\n"
        "numbasep.convolve(np.eye(4), np.eye(3), workers=1)\n"
        "numbasep.convolve([[1.0, 2.0]], [[1.0]], workers=1)\n"
        "print([n for n in ('dask', 'xarray', 'numba.cuda', 'numbasep.adapters') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
