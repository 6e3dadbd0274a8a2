"""Files in, broken rules out: the house style as code. `tests/test_house.py` runs it on this tree."""
