"""What a piece of the museum is: one mistake, and the test that catches it."""

from __future__ import annotations

from dataclasses import dataclass

ASSERTION = r"(?m)^E +(AssertionError|assert )"


@dataclass(frozen=True)
class Piece:
    """One mistake.

    Attributes
    ----------
    id, title : what it is called in node ids and on the page.
    file : the file it is planted in, seen from the repository.
    right, wrong : source text as it stands there, exactly once, and as the mistake has it.
    story : how one comes to make it.
    symptom : what a user would see.
    test : the node id of the test that catches it.
    complaint : what that test says, a regular expression; unless given, that an assertion fails.
    triton : whether the test needs torch and triton.
    unseen : why the tests of the time did not catch it when it was first planted; "" if they did.
    """

    id: str
    title: str
    file: str
    right: str
    wrong: str
    story: str
    symptom: str
    test: str
    complaint: str = ASSERTION
    triton: bool = False
    unseen: str = ""
