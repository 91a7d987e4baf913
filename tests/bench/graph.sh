#!/usr/bin/env bash
# Draws the CSV of race.sh as SVG, on standard output: `graph.sh CSV > SVG`. A bar for each contestant, by wall time.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2s/^# //p' "$0" >&2 && exit 2; }

awk -F, '
    function text(x, y, anchor, style, words) {
        gsub(/&/, "\\&amp;", words)
        gsub(/</, "\\&lt;", words)
        body = body sprintf("<text x=\"%d\" y=\"%d\" text-anchor=\"%s\" class=\"%s\">%s</text>\n", x, y, anchor, style, words)
    }
    NR == 1 { next }
    $1 $2 != last {
        last = $1 $2
        y += NR == 2 ? 20 : 34
        text(0, y, "start", "head", $1 ": " $2 ", seconds (CPU seconds, requests)")
    }
    { n++; group[n] = last; name[n] = $3; wall[n] = $4; note[n] = $5 ", " $10; top[n] = y += 22
      if ($4 > most) most = $4 }
    END {
        for (i = 1; i <= n; i++) {
            width = wall[i] / most * 360
            text(210, top[i], "end", name[i] == "drctl" ? "ours" : "other", name[i])
            body = body sprintf("<rect x=\"220\" y=\"%d\" width=\"%.1f\" height=\"16\" class=\"%s\"/>\n",
                top[i] - 13, width, name[i] == "drctl" ? "ours" : "other")
            text(226 + width, top[i], "start", "other", wall[i] " (" note[i] ")")
        }
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"%d\" font-family=\"sans-serif\" font-size=\"13\">\n", y + 14
        print "<style>text{fill:#333}.head{font-weight:bold}text.ours{font-weight:bold}rect.ours{fill:#2a6fb0}rect.other{fill:#b8b8b8}</style>"
        print "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
        printf "%s</svg>\n", body
    }' "$1"
