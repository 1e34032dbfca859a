"""Jobs of the label platform: ingest a label file, freeze a data set. They know stories by slug only."""
