"""Entry point of the plugin process pulumi-resource-oci."""

import sys
from pathlib import Path

# Not through PYTHONPATH: what the plugin starts would inherit it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.providers.stand_ins.oci.provider import OciProvider
from sandbox.providers.stand_ins.serving import serve, version_of

if __name__ == "__main__":
    serve(version_of("pulumi_oci"), lambda _: OciProvider())
