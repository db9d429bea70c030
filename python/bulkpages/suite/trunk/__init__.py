"""What every answer is made from: workloads, exact counts, kernel instructions, trials and their statistics."""
