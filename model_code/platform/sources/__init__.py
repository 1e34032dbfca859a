"""Where labels come from: vendor, implicit, programmatic, llm_distilled. Each turns what it gets into one `LabelBatch`
and `settle` makes of it accepted rows, quarantined rows with their reasons, and agreement per language."""
