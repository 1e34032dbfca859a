"""The main job on a laptop: thirteen scenes against an embedded AWS, and a report of what happened."""
