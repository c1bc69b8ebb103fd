"""Sessions: which of them are alive, for whom, and what do they execute?"""
