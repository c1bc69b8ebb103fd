"""Azure on your machine: what does the agent talk to when there is no Azure account?"""
