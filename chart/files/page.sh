# shellcheck shell=sh
# Writes the page: the pod's address, and Host- with the last five characters of its name.
set -eu
host="Host-$(printf %s "$POD_NAME" | tail -c 5)"
cat >/page/index.html <<HTML
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$host</title>
<h1>$host</h1>
<p>Pod IP: $POD_IP</p>
</html>
HTML
