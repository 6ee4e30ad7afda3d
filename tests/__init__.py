"""The tests: each stands where the thing that it tests stands. What they share is imported from here."""
