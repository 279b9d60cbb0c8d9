"""An export and a validation: plan, stages, gates, budgets, journal."""
