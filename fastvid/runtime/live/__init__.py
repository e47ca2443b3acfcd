"""Painting while it happens: the newest frame wins, and frames are dropped rather than delayed.

A thread of its own reads the camera and keeps its newest frame (`capture`), the caller's thread
paints and shows it (`loop`, `window`), a third one writes the file (`recorder`).
"""
