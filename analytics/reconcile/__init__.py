"""A provider's export and the ledger in, what one has and the other has not out.

Invariant: both sides are compared in whole numbers (calls, tokens, nano-USD), so a difference is exact.
Nothing is written back: a bill never changes what was booked.
"""
