"""without.py GROUP: passes objects of manifests on, from stdin to stdout, but for those of an API group."""
import re
import sys

objects = re.split(r"^---\n", sys.stdin.read(), flags=re.MULTILINE)
print("---\n".join(o for o in objects if not re.search(rf"^apiVersion: {re.escape(sys.argv[1])}/", o, re.MULTILINE)))
