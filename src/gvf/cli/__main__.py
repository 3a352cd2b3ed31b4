"""`python -m gvf.cli`, the same as `gvf`."""

from gvf.cli.main import main

if __name__ == "__main__":
    main()
