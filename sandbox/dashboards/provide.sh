#!/bin/sh
# Prints the folder of the viewer, a page for a browser. It is bundled once from the npm packages of package-lock.json (a minute, two
# thirds of a GiB while it lasts) and kept in $CDP_CACHE_DIR, else ~/.cache/central-data-platform.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}

die() {
  echo "provide.sh: $1" >&2
  exit 1
}

command -v npm >/dev/null || "$here/../docker/ensure-packages.sh" nodejs npm
mkdir -p "$cache"
exec 7>"$cache/dashboards.lock"
flock 7
viewer=$cache/dashboards-$(cat "$0" "$here"/package*.json "$here"/*.ts "$here"/*.tsx "$here/index.html" | sha256sum | cut -c 1-16)
if [ ! -d "$viewer" ]; then
  # Another checkout's may be in use.
  find "$cache" -maxdepth 1 -name 'dashboards-*' -mtime +7 -exec rm -rf '{}' +
  work=$(mktemp -d "$viewer.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  cp "$here"/package*.json "$here"/*.ts "$here"/*.tsx "$work"
  # Nothing of a package runs here but esbuild, which is asked to.
  (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >&2) || die "npm could not get the packages"
  # monaco-editor, which nothing here uses, has a font.
  (cd "$work" && node_modules/.bin/esbuild viewer.tsx --bundle --minify --jsx=automatic --loader:.ttf=empty \
    --define:process.env.NODE_ENV='"production"' --outfile=page/viewer.js --log-level=error >&2) || die "esbuild could not bundle the viewer"
  cp "$here/index.html" "$work/page"
  mv "$work/page" "$viewer"
fi
touch "$viewer"
echo "$viewer"
