import pytest

from aetheory.linear.expansion.words import canonical, flow_derivative, risk_derivative


def test_canonical_form_is_shared_by_rotations_and_reversals():
    word = "MMSMSSM"
    turned = [word[i:] + word[:i] for i in range(len(word))]
    assert {canonical(w) for w in turned + [w[::-1] for w in turned]} == {"MMMSMSS"}
    assert canonical("") == ""


def test_the_derivative_of_a_single_letter_is_the_flow():
    # tr Ṁ = −tr[2MSM + SM² + M²S − 2SM − 2MS]
    assert flow_derivative({"M": 1}) == {"MMS": -4, "MS": 4}
    assert flow_derivative({"S": 1}) == {}


@pytest.mark.parametrize(("risk", "samples"), [("train", 1), ("population", 0)])
@pytest.mark.parametrize("order", [1, 4])
def test_words_of_a_derivative_lie_in_the_prism(risk, samples, order):
    words = risk_derivative(order, risk)
    assert {w.count("S") for w in words} == {order + samples}
    assert {w.count("M") for w in words} == set(range(1, order + 3))
    assert all((coefficient > 0) == (w.count("M") % 2 == 0) for w, coefficient in words.items())
