"""Tests of the own tools' machinery."""
