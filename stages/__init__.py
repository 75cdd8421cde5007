"""The study, stage by stage: one entry point a stage, science and pipeline code in the two folders.

Importing the package fixes the number of threads of every numeric library to one, before any of them loads. Sums
are then added in one order on every machine, and parallel work comes from worker processes alone (MIS_WORKERS).
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# no library may fetch anything behind the back of a running study
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
