"""The registry refuses duplicates and helps with unknown names."""

import pytest

from sosr_timm.registry import Registry, close_names


def test_a_name_gives_back_its_thing():
    registry = Registry("loss")
    registry.register("sosr")(max)
    assert registry["sosr"] is max
    assert list(registry) == ["sosr"] and "sosr" in registry and len(registry) == 1


def test_a_duplicate_is_an_error():
    registry = Registry("loss")
    registry.register("sosr")(max)
    with pytest.raises(ValueError, match="loss 'sosr' is registered twice"):
        registry.register("sosr")(min)


def test_an_unknown_name_lists_the_close_ones():
    registry = Registry("loss")
    registry.register("sosr")(max)
    with pytest.raises(ValueError, match="unknown loss 'sors': did you mean 'sosr'"):
        registry["sors"]


def test_a_name_that_is_close_to_nothing_lists_all():
    assert close_names("zzz", ["b", "a"]) == "known: a, b"
