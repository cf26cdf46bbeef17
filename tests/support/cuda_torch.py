"""PyTorch tensors in host memory that claim to be on a GPU, for the simulator."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def on_gpu(values: np.ndarray | Any) -> Any:
    """Return a tensor of a subclass, as in torchvision and MONAI, that claims to be on a GPU."""
    import torch

    class Tensor(torch.Tensor):
        __module__ = "elsewhere"
        is_cuda = property(lambda _: True)

    return torch.as_tensor(values).as_subclass(Tensor)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch, with 5 as the current stream."""
    module = pytest.importorskip("torch")
    monkeypatch.setattr(module.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=5))
    return module
