"""What a user looks at: numbers, pictures and pages made from the results of a run."""
