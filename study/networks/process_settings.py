"""Settings of a process that code of a network may change, put back behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

_TF32 = "tf32"  # as torch names it


@dataclass(frozen=True)
class ProcessSettings:
    """What own code may set for a whole process, so that networks built after it in this process would be others than in
    their own; and the folder that the process works in.
    """

    dtype: Any = None
    device: Any = None
    gradients: bool = True
    threads: int = 1
    deterministic: bool = False
    arithmetic: tuple[str, ...] = ()
    kernels: tuple[bool, ...] = ()
    folder: str = ""

    @classmethod
    def now(cls) -> ProcessSettings:
        import torch

        return cls(
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            _arithmetic(),
            (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
            os.getcwd(),
        )

    def restore(self) -> None:
        if self == (now := self.now()):
            return
        import torch

        torch.set_default_dtype(self.dtype)
        if now.device != self.device:
            torch.set_default_device(self.device)
        torch.set_grad_enabled(self.gradients)
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic)
        _compute_in(self.arithmetic)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = self.kernels
        if now.folder != self.folder:
            os.chdir(self.folder)


def _switches() -> tuple[Any, ...]:
    """Where torch keeps in what it computes float32; several libraries have a switch for all and one for each operation."""
    from torch import backends

    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    by_operation = (cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    return backends, cudnn, mkldnn, backends.cuda.matmul, *by_operation


def _arithmetic() -> tuple[str, ...]:
    """In what float32 is computed. Torch refuses to read its older names once code has set one of the newer alone."""
    import torch

    if hasattr(torch.backends, "fp32_precision"):  # since torch 2.9
        return tuple(switch.fp32_precision for switch in _switches())
    return torch.get_float32_matmul_precision(), _TF32 if torch.backends.cudnn.allow_tf32 else ""


def _compute_in(arithmetic: tuple[str, ...]) -> None:
    """Compute float32 as `_arithmetic` found it, by the newer names and by the older, which torch then lets be read again."""
    import torch

    if not hasattr(torch.backends, "fp32_precision"):
        torch.set_float32_matmul_precision(arithmetic[0])
        torch.backends.cudnn.allow_tf32 = arithmetic[1] == _TF32
        return
    switches = _switches()
    of = dict(zip(switches, arithmetic, strict=True))
    torch.backends.cuda.matmul.allow_tf32 = of[torch.backends.cuda.matmul] == _TF32
    torch.backends.cudnn.allow_tf32 = of[torch.backends.cudnn.conv] == _TF32
    for switch in switches:  # those for all first, which set others
        switch.fp32_precision = of[switch]
