"""Tensors of PyTorch in the memory of the host, taken for tensors of a GPU: for the simulator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def on_gpu(values: np.ndarray | Any) -> Any:
    """A tensor of a subclass, as torchvision's and MONAI's are, that says it is on a GPU."""
    import torch

    class Tensor(torch.Tensor):
        __module__ = "elsewhere"
        is_cuda = property(lambda _: True)

    return torch.as_tensor(values).as_subclass(Tensor)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch, whose current stream is the fifth."""
    module = pytest.importorskip("torch")
    monkeypatch.setattr(module.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=5))
    return module
