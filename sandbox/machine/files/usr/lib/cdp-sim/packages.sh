# Sourced by dnf and rpm of the simulated machine: which packages there are, and which of them are installed.
# shellcheck shell=sh

KNOWN=/usr/lib/cdp-sim/packages.list
INSTALLED=$STATE/installed # NAME EPOCH VERSION RELEASE, a line a package; those of the image are in $KNOWN

# Prints NAME EPOCH VERSION RELEASE of an installed package.
installed() { # NAME
  {
    cat "$INSTALLED" 2>/dev/null || :
    awk '$5 == "@System"' "$KNOWN"
  } | awk -v name="$1" '$1 == name { print $1, $2, $3, $4; found = 1; exit } END { exit !found }'
}

# Prints NAME EPOCH VERSION RELEASE REPOSITORY of what the repositories offer under a name.
offered() { # NAME
  awk -v name="$1" '$1 == name { print; found = 1 } END { exit !found }' "$KNOWN"
}

# Splits NAME[-[EPOCH:]VERSION[-RELEASE]]: prints the name, and what follows it.
split_package() { # WORD
  awk -v word="$1" '
    /^#/ { next }
    $1 == word { best = $1 }
    index(word, $1 "-") == 1 && substr(word, length($1) + 2) ~ /^[0-9]/ && length($1) > length(best) { best = $1 }
    END { if (best == "") exit 1; print best, substr(word, length(best) + 2) }' "$KNOWN"
}

# Whether EPOCH VERSION RELEASE is what [EPOCH:]VERSION[-RELEASE] asks for; nothing asks for any.
is_wanted() { # WANTED EPOCH VERSION RELEASE
  case $1 in
    '' | "$3" | "$3-$4" | "$2:$3" | "$2:$3-$4") return 0 ;;
  esac
  return 1
}
