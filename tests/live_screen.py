"""A window for the tests of live painting."""


class Screen:
    """A window that shows nothing; `keys` are pressed one after each frame."""

    def __init__(self, keys=""):
        self.keys = list(keys)
        self.images = []
        self.num_answered = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def show(self, image, lines=()):
        self.images.append(image)
        self.lines = list(lines)

    def fill_screen(self, fills):
        self.fills = fills

    def key(self):
        if len(self.images) == self.num_answered:  # asked again while no frame came
            return ""
        self.num_answered = len(self.images)
        return self.keys.pop(0) if self.keys else ""
