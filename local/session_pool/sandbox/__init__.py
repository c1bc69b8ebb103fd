"""How is code that nobody has read kept from the machine it runs on?

Each module holds one mechanism. `fork_server` and `plain` put them together, `self_test` proves
them.
"""
