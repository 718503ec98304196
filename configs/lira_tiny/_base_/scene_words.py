"""The words that say an attribute of an object in the scenes, by kind."""

scene_words = dict(
    category=["circle", "square", "triangle", "star", "cross", "ring"],
    location=["left", "right", "top", "bottom"],
    color=["red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"],
)
