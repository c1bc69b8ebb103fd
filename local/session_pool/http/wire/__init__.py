"""JSON on the wire: how does each API version write requests, results and files?"""
