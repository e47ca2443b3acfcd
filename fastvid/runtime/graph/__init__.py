"""From the exported network to a graph that a machine runs faster, equal to within rounding.

`statistics` holds the instance norms at the statistics of a shot, `rewriting` makes the rest
cheaper (`borders`, `ends` and `corners` are its parts), `quantizing` trades exactness for speed on
request, `cuda` leaves nothing to the processor beside a card, `mixing` blends networks, and
`network` is what all need of an ONNX graph. onnx is imported in here only.
"""
