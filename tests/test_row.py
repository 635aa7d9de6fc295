"""Rows of the table that are refused when they are defined."""

import numpy as np
import pytest

import minigrad as mg


def test_an_argument_named_like_the_gradient_or_the_output_is_refused():
    for forward in (lambda x, z: x + z, lambda g: g):
        with pytest.raises(TypeError, match="g is the gradient and z the output; rename that argument"):
            mg.op(forward)


def test_a_rule_for_an_argument_that_is_not_there_is_refused():
    with pytest.raises(TypeError, match=r"rules for \['y'\], but its arguments are \['x'\]"):
        mg.op(lambda x: x, y=lambda g: g)
    with pytest.raises(TypeError, match="rules for"):
        mg.op(np.multiply, x=lambda g: g, y=lambda g: g, w=lambda g: g)


def test_a_rule_that_asks_for_what_is_not_there_is_refused():
    with pytest.raises(TypeError, match=r"a rule takes g, then any of \['x', 'z'\]; this one takes \['g', 'w'\]"):
        mg.op(lambda x: x, x=lambda g, w: g)
