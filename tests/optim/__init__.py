"""Tests of `optim`, file by file."""
