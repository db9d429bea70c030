"""`python -m bulkpages` is the command `bulkpages`."""

from bulkpages.cli import main

if __name__ == "__main__":
    main(prog_name="bulkpages")
