"""A session's files: how are they listed, read and written without trusting its code?"""
