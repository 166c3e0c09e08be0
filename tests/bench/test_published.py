"""The comparison of a published model's runtimes."""

from onedpiece.bench.published import Race, race


def test_both_run_in_turn_and_their_first_runs_do_not_count():
    order = []
    found = race(lambda: order.append("ours"), lambda: order.append("theirs"), 3)
    assert order == ["ours", "theirs"] * 4
    assert len(found.ours) == len(found.theirs) == 3


def test_the_ratio_is_of_neighbouring_runs():
    """The machine was busy during the second pair, which must not decide."""
    assert Race([1.0, 9.0, 1.0], [2.0, 9.0, 2.0]).ratio == 2
    assert "2.00" in str(Race([1.0, 9.0, 1.0], [2.0, 9.0, 2.0]))
