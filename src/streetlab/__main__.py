"""`python -m streetlab`."""

from streetlab.cli import main

if __name__ == "__main__":
    main()
