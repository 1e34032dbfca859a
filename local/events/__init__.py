"""Alarms, parameter changes, rules and schedules: what starts something else."""
