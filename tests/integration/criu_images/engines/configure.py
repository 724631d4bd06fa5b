"""Have a bundle that `runc spec` has configured run a program on the outer /usr."""

import json
import sys
from pathlib import Path

path = Path(sys.argv[1])
config = json.loads(path.read_text())
config["process"] |= {"terminal": False, "args": ["sh", "-c", sys.argv[2]]}
config["root"]["readonly"] = False
usr = {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
config["mounts"].append(usr)
path.write_text(json.dumps(config))
