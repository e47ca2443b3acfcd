"""What runs a graph: one small protocol, one file per engine, `choice` picks among them.

Every engine takes the bytes of an ONNX network that is fixed to one size of frames and has painted
a frame by the time it is handed out.
"""
