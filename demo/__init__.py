"""The main job on a laptop: nineteen scenes against an embedded AWS, and a report of what happened."""
