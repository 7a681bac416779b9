"""Tests of the known facts of servers."""
