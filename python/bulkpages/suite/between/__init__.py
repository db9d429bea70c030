"""Several runs: of one program on many machines, of two versions of the program on one."""
