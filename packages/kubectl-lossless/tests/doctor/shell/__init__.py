"""Tests of the scripts of shells."""
