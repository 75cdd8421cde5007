"""Autoencoders of other libraries become codes that compute what the libraries compute."""

import pytest
import torch

from interpretability.directions.encoding import encode
from interpretability.directions.files import read_code, write_code
from study.networks.foreign_codes.options import Options
from tests.helpers.foreign_codes import CASES, POSITIONS
from tests.helpers.slow_codes import slow_values
from tools.convert_code import KINDS, OPTIONS

NAMES = [f"{case.kind}: {case.name}" for case in CASES]


def converted(case, folder):
    options = Options(dict.fromkeys(OPTIONS) | case.options)
    return KINDS[case.kind](case.write(folder), options)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_code_computes_what_its_library_computes(case, tmp_path):
    code = converted(case, tmp_path).code
    for name, value in case.expected.items():
        assert getattr(code, name) == value if value is not None else getattr(code, name) is None, name
    assert code.source
    assert code.source.isprintable()
    write_code(code, tmp_path / "code.safetensors")
    kept = read_code(tmp_path / "code.safetensors")
    # positions that float32 holds, so that the same numbers go in on both sides
    wanted = case.values(POSITIONS)
    assert 0 < (wanted > 0).double().mean() < 1
    for values in (slow_values(kept, POSITIONS), encode(kept, POSITIONS.float()).double()):
        assert values.shape == wanted.shape
        assert torch.equal(values > 0, wanted > 0)
        torch.testing.assert_close(values, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


def test_cases_tell_what_they_are_about_apart():
    """Where a formula has two readings, both give different values here, so that a wrong one would be seen."""
    values = {(case.kind, case.name): case.values(POSITIONS) for case in CASES}
    for one, other in (
        (("saelens", "standard"), ("saelens", "b_dec left alone")),
        (("saelens", "standard"), ("saelens", "layer norm")),
        (("saelens", "standard"), ("saelens", "average norm with its factor")),
        (("overcomplete", "SAE"), ("overcomplete", "TopKSAE")),
        (("overcomplete", "TopKSAE"), ("overcomplete", "batch norm")),
        (("overcomplete", "BatchTopKSAE"), ("overcomplete", "JumpSAE")),
        (("dictionary_learning", "AutoEncoderTopK"), ("dictionary_learning", "BatchTopKSAE")),
        (
            ("dictionary_learning", "JumpReluAutoEncoder"),
            ("dictionary_learning", "JumpReluAutoEncoder, b_dec subtracted"),
        ),
    ):
        assert (values[one] - values[other]).abs().max() > 0.05, (one, other)
    # before the relu more than k are not positive, so that the order matters
    topk = values["saelens", "topk"]
    assert ((topk > 0).sum(1) < 12).any()
