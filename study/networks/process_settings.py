"""Settings of a process that code of a network may change, put back behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


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
    precision: str = "highest"
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
            torch.get_float32_matmul_precision(),
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
        torch.set_float32_matmul_precision(self.precision)
        if now.folder != self.folder:
            os.chdir(self.folder)
