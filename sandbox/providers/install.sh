#!/bin/sh
# Puts stand-in plugins into a private PULUMI_HOME, under the versions that the installed SDK packages ask for.
#
#   install.sh DEST_PULUMI_HOME PYTHON [PLUGIN...]     # docker and command unless named
#
# PYTHON is an interpreter that has pulumi and the SDK package of each plugin. Plugins that are not named stay as
# they are, published ones too. Running it again changes nothing.
set -eu

if [ $# -lt 2 ]; then
  echo "usage: $0 DEST_PULUMI_HOME PYTHON [docker|command|oci ...]" >&2
  exit 2
fi
home=$1
python=$(command -v "$2") || {
  echo "install.sh: no Python interpreter at $2; give the one of the virtual environment." >&2
  exit 1
}
case $python in
  /*) ;;
  *) python=$PWD/$python ;;
esac
shift 2
[ $# -gt 0 ] || set -- docker command
here=$(cd "$(dirname "$0")" && pwd)
for name in "$@"; do
  if [ ! -f "$here/${name}_plugin.py" ]; then
    echo "install.sh: there is no stand-in for a plugin $name; name docker, command or oci." >&2
    exit 2
  fi
done

# Single quotes make any path safe inside the generated script, single quotes themselves included.
quoted() {
  printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

for name in "$@"; do
  version=$("$python" -c '
import sys
sys.path.insert(0, sys.argv[1] + "/../..")
from sandbox.providers.stand_ins.serving import version_of
print(version_of(sys.argv[2]))
' "$here" "pulumi_$name")
  folder=$home/plugins/resource-$name-v$version
  mkdir -p "$folder"
  wrapper=$folder/pulumi-resource-$name
  # Written beside and renamed, so that an engine never starts half a script.
  draft=$(mktemp "$folder/.draft.XXXXXX")
  printf '#!/bin/sh\n# A stand-in, not the published plugin: see README.md beside the script.\nexec %s %s "$@"\n' \
    "$(quoted "$python")" "$(quoted "$here/${name}_plugin.py")" >"$draft"
  if cmp -s "$draft" "$wrapper"; then
    rm "$draft"
  else
    chmod 755 "$draft"
    mv "$draft" "$wrapper"
  fi
done
