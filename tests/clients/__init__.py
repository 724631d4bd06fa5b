"""What tests of other people's clients share, and those clients' own parts of the tests."""
