"""What tests of kuramori, and of backends for it, are made of: a clock that is told the time, a
backend that fails on demand, the suite every backend must pass, and the real restic as judge."""
