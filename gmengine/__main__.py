"""``python -m gmengine`` is ``gmengine``."""

from gmengine.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
