"""Tests that bad calls are refused with the library's message."""

import re

import pytest


def refused(*cases, by=lambda call: call()):
    """A test that each case, a call or an argument of `by`, raises a ValueError "Argument …" with its message.

    A message is the beginning of the text after "Argument "; … in it stands for anything.
    """

    @pytest.mark.parametrize(("case", "message"), cases)
    def test(case, message):
        with pytest.raises(ValueError, match="^Argument " + re.escape(message).replace("…", ".*")):
            by(case)

    return test
