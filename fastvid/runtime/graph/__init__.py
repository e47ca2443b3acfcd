"""From the exported network to a graph that a machine runs faster, equal to within rounding.

`statistics` holds the instance norms at the statistics of a shot, `rewriting` makes the rest
cheaper (`borders`, `ends` and `corners` are its parts), `winograd` saves multiplications in float32
on a processor, `quantizing` calculates in 8 bits, `cuda` leaves nothing to the processor beside a
card, `mixing` blends networks, and `network` is what all need of an ONNX graph. onnx is imported in
here only.
"""
