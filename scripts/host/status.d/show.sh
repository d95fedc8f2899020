# shellcheck shell=sh
# shellcheck disable=SC2154 # $color is status.sh's own
# What was found, for machines and for people. Standard input is lines of `check`.

as_json() {
  # A byte that is no character of JSON's would make all of it useless.
  LC_ALL=C tr -d '\000-\010\013-\037\177' | sed 's/\\/\\\\/g; s/"/\\"/g' | awk -F '\t' -v now="$(date -u +%Y-%m-%dT%H:%M:%SZ)" '
    BEGIN { printf "{\"schema\": 1, \"generated\": \"%s\", \"checks\": [", now }
    {
      since = $5 == "" ? "null" : "\"" $5 "\""
      printf "%s\n  {\"name\": \"%s\", \"state\": \"%s\", \"detail\": \"%s\", \"since\": %s}", NR == 1 ? "" : ",", $2, $3, $4, since
    }
    END { print "\n]}" }'
}

# The verdict, what needs a person and what is worth a look with all that is known of it, then everything by its groups.
as_screen() {
  LC_ALL=C tr -d '\000-\010\013-\037\177' |
    WHERE="$(head -n 1 "$srv/.central-data-platform" 2>/dev/null || echo platform) on $(uname -n)" \
    WHEN="$(date -u '+%Y-%m-%d %H:%M UTC')" UP="$(awk '{ print int($1) }' /proc/uptime)" COLOR="$color" awk -F '\t' '
    function painted(state, text) {
      if (ENVIRON["COLOR"] == "") return text
      return "\033[" (state == "ok" ? 32 : state == "warn" ? 33 : 31) "m" text "\033[0m"
    }
    function many(number, one, more) { return number " " (number == 1 ? one : more) }
    # Names in a row, the first few of them.
    function names(list, number,  i, text) {
      for (i = 1; i <= number && i <= 4; i++) text = text (i > 1 ? ", " : "") list[i]
      return text (number > 4 ? " and " number - 4 " more" : "")
    }
    # Broken between words, and each line begins under the first.
    function wrapped(text, margin,  words, count, i, line, all, room) {
      room = 112 - margin
      count = split(text, words, " ")
      for (i = 1; i <= count; i++) {
        if (line != "" && length(line) + 1 + length(words[i]) > room) {
          all = all line "\n" sprintf("%" margin "s", "")
          line = words[i]
        } else line = line (line == "" ? "" : " ") words[i]
      }
      return all line
    }
    function row(name, state, text) {
      print "  " sprintf("%-" width "s", name) "  " painted(state, sprintf("%-8s", state)) wrapped(text, width + 12)
    }
    # What has the same reason is one row.
    function section(title, state, list, number,  i, j, together) {
      for (i = 1; i <= number; i++) {
        if (list[i] in told) continue
        together = list[i]
        for (j = i + 1; j <= number; j++) if (detail[list[j]] == detail[list[i]]) { together = together ", " list[j]; told[list[j]] }
        if (title != "") print "\n" title
        title = ""
        print "  " painted(state, sprintf("%-8s", state)) wrapped(together ": " detail[list[i]], 10)
      }
    }
    {
      name = $2; state = $3; detail[name] = $4
      if (!($1 in members)) titles[++groups] = $1
      members[$1]++
      group[NR] = $1; named[NR] = name; of[NR] = state
      if (length(name) > width) width = length(name)
      if (state == "fail") failed[++fails] = name
      else if (state == "unknown") dark[++darks] = name
      else if (state == "warn") watched[++warns] = name
    }
    END {
      if (fails) verdict = many(fails, "thing needs", "things need") " a person: " names(failed, fails)
      if (darks) verdict = verdict (verdict == "" ? "" : "; ") many(darks, "thing", "things") " cannot be told" (fails ? "" : ": " names(dark, darks))
      if (verdict == "") verdict = "well" (warns ? ", and " many(warns, "thing is", "things are") " worth a look: " names(watched, warns) : "")
      print painted(fails || darks ? "fail" : warns ? "warn" : "ok", wrapped(ENVIRON["WHERE"] ": " verdict, 2))
      up = ENVIRON["UP"]
      print ENVIRON["WHEN"] ", " NR " checks, machine up " (up < 7200 ? int(up / 60) " min" : up < 172800 ? int(up / 3600) " h" : int(up / 86400) " days")
      section("Needs a person", "fail", failed, fails)
      section("Cannot be told", "unknown", dark, darks)
      section("Worth a look", "warn", watched, warns)
      for (g = 1; g <= groups; g++) {
        print "\n" titles[g]
        for (i = 1; i <= NR; i++) if (group[i] == titles[g]) row(named[i], of[i], of[i] == "ok" ? detail[named[i]] : "see above")
      }
    }'
}
