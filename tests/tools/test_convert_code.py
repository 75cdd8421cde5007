"""The command that converts autoencoders: options, words, and the file it writes."""

import pytest
import torch

from interpretability.directions.files import read_code
from study.errors import StudyError
from tests.helpers.foreign_codes import DICTIONARY, LINEAR, PLAIN, pickled, saelens, v6
from tools import convert_code


def test_a_folder_becomes_a_file_and_the_words_of_a_row(tmp_path, capsys):
    folder = saelens(PLAIN, v6())(tmp_path)
    out = tmp_path / "codes" / "layer.safetensors"
    convert_code.main(["saelens", str(folder), str(out), "--tokens", "patches", "--n-prefix", "5"])
    code = read_code(out)
    assert (code.layer, code.tokens, code.n_prefix) == ("blocks.7", "patches", 5)
    text = capsys.readouterr().out
    assert "20 latents over a width of 12; relu" in text
    assert "tokens patches behind the first 5" in text
    assert f"directions blocks.7={out}" in text
    assert f"blocks.7@max={out}" in text
    assert "Note: blocks.7.hook_resid_post is blocks.7 in vision transformers of timm" in text


def test_options_reach_the_converter_and_bytes_are_the_same_each_time(tmp_path):
    file = pickled(LINEAR | DICTIONARY)(tmp_path)
    contents = set()
    for name in ("a", "b"):
        out = tmp_path / f"{name}.safetensors"
        convert_code.main(["overcomplete", str(file), str(out), "--class", "TopKSAE", "--k", "3", "--layer", "layer3"])
        contents.add(out.read_bytes())
    assert len(contents) == 1
    code = read_code(out)
    assert (code.activation, code.k, code.layer) == ("topk", 3, "layer3")


def test_options_that_do_nothing_are_refused_and_nothing_is_written(tmp_path):
    file = pickled(LINEAR | DICTIONARY)(tmp_path)
    out = tmp_path / "code.safetensors"
    for option in (["--apply-b-dec"], ["--factor", "2"], ["--k", "3"], ["--decoder-norm", "after"]):
        with pytest.raises(StudyError, match=option[0]):
            convert_code.main(["overcomplete", str(file), str(out), "--class", "SAE", *option])
    assert not out.exists()


def test_the_name_of_the_output_is_looked_at_before_the_work(tmp_path):
    with pytest.raises(StudyError, match=r"code\.pt.*\.safetensors"):
        convert_code.main(["saelens", str(tmp_path / "nothing"), str(tmp_path / "code.pt")])


def test_half_precision_is_read_as_it_is(tmp_path):
    folder = saelens({name: value.bfloat16() for name, value in PLAIN.items()}, v6())(tmp_path)
    convert_code.main(["saelens", str(folder), str(tmp_path / "code.safetensors")])
    code = read_code(tmp_path / "code.safetensors")
    assert torch.equal(code.encoder, PLAIN["W_enc"].bfloat16().float().T)
