"""Numbers that must be the same in every version."""

import json

from golden import make_votes


def test_votes_are_those_of_the_golden_file():
    assert make_votes.votes() == json.loads(make_votes.PATH.read_text())
