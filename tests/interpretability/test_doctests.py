"""Every example in a docstring of the library gives what it shows."""

import doctest
import importlib
import pkgutil

import pytest

import interpretability

MODULES = [each.name for each in pkgutil.walk_packages(interpretability.__path__, "interpretability.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


@pytest.mark.parametrize("name", sorted(set(interpretability.__all__) - {"InputError"}))
def test_every_public_name_has_an_example_and_says_what_it_raises(name):
    public = getattr(interpretability, name)
    assert f"import {name}" in public.__doc__ or f", {name}" in public.__doc__
    assert ">>> " in public.__doc__
    assert "InputError" in public.__doc__ or name in ("similarity_names",)
