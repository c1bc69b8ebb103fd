"""Benchmarks: what does a turn cost, against the least it could and against the usual way?"""
