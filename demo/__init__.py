"""The main job on a laptop: fourteen scenes against an embedded AWS, and a report of what happened."""
