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
    """Where torch keeps in what it computes float32: a switch for all, and those of libraries and operations.

    That of all of mkldnn is not among them: torch 2.15 takes it for the one for all.
    """
    from torch import backends

    cudnn: Any = backends.cudnn  # what it holds is put into its module by another name
    mkldnn: Any = backends.mkldnn
    return backends, cudnn, backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn


def _arithmetic() -> tuple[str, ...]:
    """In what float32 is computed: the older name for matrix products, and the newer ones, or that for convolutions."""
    import torch

    if not hasattr(torch.backends, "fp32_precision"):  # before torch 2.9
        return torch.get_float32_matmul_precision(), _TF32 if torch.backends.cudnn.allow_tf32 else ""
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # so torch answers once code has set a newer name alone
        older = ""
    return older, *(switch.fp32_precision for switch in _switches())


def _compute_in(arithmetic: tuple[str, ...]) -> None:
    """Compute float32 as `_arithmetic` found it, by the newer names and by the older, which torch then lets be read again."""
    import torch

    older, *newer = arithmetic
    if not hasattr(torch.backends, "fp32_precision"):
        torch.set_float32_matmul_precision(older)
        torch.backends.cudnn.allow_tf32 = newer == [_TF32]
        return
    of = dict(zip(_switches(), newer, strict=True))
    if older:
        torch.set_float32_matmul_precision(older)
    else:
        torch.backends.cuda.matmul.allow_tf32 = of[torch.backends.cuda.matmul] == _TF32
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = of[cudnn.conv] == _TF32
    for switch, value in of.items():  # the one for all first, which sets others
        switch.fp32_precision = value
