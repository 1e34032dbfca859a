"""The main job on a laptop: sixteen scenes against an embedded AWS, and a report of what happened."""
