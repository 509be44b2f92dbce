"""Training and evaluation by several processes, with the result of one.

All processes run the same program with the same random numbers, so that each knows the whole batch.
Each works on its share of the batch, and what the shares give is added up.
"""
